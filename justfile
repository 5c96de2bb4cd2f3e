# Every recipe is one command; `mesh` is the harness in e2e/.

mesh := "cargo run --quiet --release --package e2e --"

[private]
default:
    @just --list --unsorted

# Mesh up without Docker, the whole table; stays up until Ctrl-C
demo *flags:
    {{mesh}} demo {{flags}}

# Mesh up on kind, the whole table under both profiles, mesh down again
e2e *flags:
    {{mesh}} e2e {{flags}}

# Bring the mesh up on kind and leave it standing
up *flags:
    {{mesh}} up {{flags}}

# Ask a mesh that stands every case of the table
verify *flags:
    {{mesh}} verify {{flags}}

# Put the rules in manifests/policy in force, as they are now
apply *flags:
    {{mesh}} apply {{flags}}

# Hold the model against a real Envoy: random policies, tokens and requests
differential *flags:
    {{mesh}} differential {{flags}}

# Send hostile requests to a mesh that stands; `--short` sends one of each kind
attacks *flags:
    {{mesh}} attacks {{flags}}

# Edit the rules of a local stage, one edit after the other: which rows notice?
mutants *flags:
    {{mesh}} mutants {{flags}}

# Remove what `up` made
down *flags:
    {{mesh}} down {{flags}}

# Say what this machine lacks, each with the command that fixes it
doctor:
    {{mesh}} doctor

# Write the JSON Schemas that editors check a suite's files by
schema:
    for file in suite cases attacks; do {{mesh}} schema $file >docs/schema/$file.json; done

# All tests that need no Docker
test:
    cargo test --workspace

# The tests that need Docker
test-docker:
    cargo test --workspace -- --ignored

# The token client against Keycloak's distribution, without Docker (`just demo` fetches it)
test-keycloak:
    KEYCLOAK_HOME=$(ls -td ${XDG_CACHE_HOME:-~/.cache}/mesh-oidc/keycloak-*/home | head -1) \
        cargo test --package token-client --test keycloak -- --ignored

# `policy` for WebAssembly, and its tests of tokens by the crates that it has there
wasm $CARGO_TARGET_DIR="target/wasm":
    rustup target add wasm32-unknown-unknown
    cargo build --package policy --lib --target wasm32-unknown-unknown --no-default-features --features pure-rust
    cargo test --package policy --test tokens --no-default-features --features pure-rust

# Random signals and races at real local stages: nothing is left, nothing that stands is hurt
storm signals="200" races="50":
    STORM_SIGNALS={{signals}} STORM_RACES={{races}} cargo test --workspace --test safety -- --ignored

# Fuzz what reads foreign bytes, all targets at once for so many seconds (needs cargo-fuzz)
[working-directory: 'token-client/fuzz']
fuzz seconds="60":
    # The flags are unstable; the compiler that builds everything else takes them too.
    RUSTC_BOOTSTRAP=1 cargo fuzz build
    cargo fuzz list | xargs -I{} mkdir -p corpus/{}
    cargo fuzz list | RUSTC_BOOTSTRAP=1 xargs -P4 -I{} cargo fuzz run {} corpus/{} seeds/{} -- -max_total_time={{seconds}}

# Licences, sources and copies of what the tree is made of (needs cargo-deny)
deny *checks="bans licenses sources":
    cargo deny --locked check {{checks}}

# Formatting and lints, as CI wants them
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- --deny warnings
