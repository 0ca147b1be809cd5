//! Credential plugins on a terminal: one that asks the user, one that is slow, one that is cancelled.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::seat::{GONE_WITHIN, PATIENCE, Seat, Start};

/// A kubeconfig whose user comes from a shell script; its server is a port at which nobody listens.
struct Login {
    folder: tempfile::TempDir,
}

impl Login {
    fn new(mode: &str, script: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let plugin = folder.path().join("login");
        let answer = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}"#;
        std::fs::write(
            &plugin,
            format!("#!/bin/sh\ncd {}\n{script}\necho '{answer}'\n", folder.path().display()),
        )
        .unwrap();
        std::fs::set_permissions(&plugin, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let text = format!(
            "current-context: far\nclusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{port}', insecure-skip-tls-verify: true}}}}]\n\
             users: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: ./login, interactiveMode: {mode}}}}}}}]\n\
             contexts: [{{name: far, context: {{cluster: c, user: u}}}}]\n"
        );
        std::fs::write(folder.path().join("kubeconfig"), text).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sit(&self) -> Seat {
        Start::new(&self.path("kubeconfig")).sit()
    }
}

/// Waits on a file that the test makes.
const WAITS: &str = "while [ ! -e go ]; do sleep 0.05; done";

#[test]
fn a_plugin_asks_the_person_before_the_console_opens() {
    let login = Login::new("Always", "printf 'one-time code: ' >&2; read code; echo \"$code\" > code");
    let mut seat = login.sit();
    seat.sees(&["one-time code:"]);
    assert!(!seat.screen().alternate_screen());
    seat.press("1234\r", &["far", "? help", "refused"]);
    assert_eq!(std::fs::read_to_string(login.path("code")).unwrap(), "1234\n");
    seat.types("qq");
    seat.ends_within(GONE_WITHIN);
}

#[test]
fn a_slow_plugin_is_named_while_it_is_waited_for() {
    let login = Login::new("Never", WAITS);
    let mut seat = login.sit();
    seat.sees(&["waiting for the credential plugin", "login, 3 s; ctrl-c cancels"]);
    std::fs::write(login.path("go"), "").unwrap();
    seat.sees(&["far", "? help", "refused"]);
    seat.types("qq");
    seat.ends_within(GONE_WITHIN);
}

#[test]
fn ctrl_c_ends_the_plugin_and_the_console() {
    // written by the shell itself, since the hang-up that follows would end a program of its own; and nothing is started
    // after `ready`, since some shells lose a signal that comes while they start something
    let script = "trap ': > told; exit' INT HUP; sleep 60 & echo ready >&2; wait";
    let login = Login::new("Never", script);
    let mut seat = login.sit();
    seat.sees(&["ready"]);
    seat.types("\x03");
    assert!(!seat.ends_within(GONE_WITHIN).success());
    assert!(!seat.screen().alternate_screen());
    // the terminal is gone, so this is waited for in the folder
    let deadline = Instant::now() + Duration::from_secs(PATIENCE);
    while !login.path("told").exists() {
        assert!(Instant::now() < deadline, "the plugin was not told");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn the_words_of_a_plugin_that_fails_are_the_last_line() {
    let login = Login::new("IfAvailable", "echo 'your session is over: run login' >&2; exit 1");
    let mut seat = login.sit();
    seat.sees(&["the credential plugin", "your session is over: run login"]);
    assert!(!seat.ends_within(GONE_WITHIN).success());
}
