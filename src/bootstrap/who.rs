//! Who runs this process, for the journal: the user and the host.

const PASSWD: &str = "/etc/passwd";

/// Returns the names of the user and of the host.
pub(super) fn who() -> (String, String) {
    let passwd = std::fs::read_to_string(PASSWD).unwrap_or_default();
    let uid = rustix::process::getuid().as_raw();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    (user(uid, &passwd, |name| std::env::var(name).ok()), host)
}

/// Returns the name of a user id. The environment, which everybody can set, is only used if the system does not know
/// the user id, and by root for the user who became root with sudo.
fn user(uid: u32, passwd: &str, env: impl Fn(&str) -> Option<String>) -> String {
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    match (name, env("SUDO_USER")) {
        (Some(name), Some(sudo)) if uid == 0 => format!("{sudo} ({name})"),
        (Some(name), _) => name,
        (None, _) => env("USER").map_or_else(|| format!("uid {uid}"), |user| format!("{user} (uid {uid})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_the_one_that_the_system_knows() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\n+::::::\n";
        for (uid, sudo, found) in [
            (1000, None, "ann"),
            (1000, Some("bob"), "ann"),
            (0, None, "root"),
            (0, Some("ann"), "ann (root)"),
            (54321, None, "mallory (uid 54321)"),
        ] {
            let env = |name: &str| match name {
                "SUDO_USER" => sudo.map(str::to_owned),
                _ => Some("mallory".into()),
            };
            assert_eq!(user(uid, passwd, env), found);
        }
        assert_eq!(user(7, passwd, |_| None), "uid 7");
    }
}
