//! What every Java that is started here is told.

use std::path::Path;

/// The variable that any `java` since 9 reads options from.
pub const OPTIONS: &str = "JDK_JAVA_OPTIONS";

/// Its value, after what the user has in it: temporary files go to `temporary`,
/// and performance data, which has a fixed place outside, is not written.
pub fn options(temporary: &Path) -> String {
    let users = std::env::var(OPTIONS).unwrap_or_default();
    let temporary = temporary.display();
    format!("{users} -XX:-UsePerfData \"-Djava.io.tmpdir={temporary}\"")
        .trim_start()
        .to_owned()
}
