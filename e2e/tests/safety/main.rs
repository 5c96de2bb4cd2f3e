//! What `mesh` makes it removes, whatever ends it, and it removes nothing else.
//!
//! All but the storm run against programs that stand in for Java, Keycloak, Envoy,
//! cargo, kind and Docker: see [`world`].

mod caches;
mod kind;
mod locks;
mod marks;
mod names;
mod output;
mod signals;
mod storm;
mod world;
