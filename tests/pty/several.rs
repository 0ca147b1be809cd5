//! Several clusters on one screen: the fleet of the demo, and clusters that cannot be reached.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::seat::{GONE_WITHIN, PATIENCE, Seat, Start};

/// The line with this text.
fn line(seat: &Seat, words: &str) -> String {
    seat.text().lines().find(|line| line.contains(words)).unwrap_or_default().to_owned()
}

#[test]
fn a_new_user_sees_that_the_release_fails_in_one_of_two_clusters() {
    for size in [(80, 24), (120, 36), (200, 50)] {
        let mut seat =
            Start { args: &["--demo", "fleet", "--seed", "1"], size, ..Start::without_kubeconfig() }.sit();
        seat.wait_for("the release that fails, and the other cluster", 90, |seat| {
            let text = seat.text();
            let mut lines = text.lines();
            let (header, others) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
            header.contains("eu-1") && others.contains("eu-2") && text.contains("B roll back")
        });
        // the same service in both
        seat.press("2", &["Traffic"]);
        seat.press("/shop/checkout\r", &["/shop/checkout"]);
        seat.press("a", &["in all open clusters"]);
        seat.wait_for("the versions and numbers of both", PATIENCE, |seat| {
            let rows: Vec<String> = ["eu-1", "eu-2"]
                .map(|name| {
                    seat.text().lines().skip(3).find(|line| line.contains(name)).unwrap_or_default().into()
                })
                .into();
            rows.iter().all(|row: &String| row.contains("v1.8.2"))
        });
        // to the other cluster and back
        seat.press("\x14", &["cluster:", "in front", "eu-1", "eu-2"]);
        seat.press("eu-2\r", &["now in front: eu-2"]);
        seat.wait_for("eu-1 among the others", PATIENCE, |seat| {
            seat.text().lines().nth(1).is_some_and(|line| line.contains("eu-1") && line.contains('✖'))
        });
        seat.press(":ctx eu-1\r", &["now in front: eu-1"]);
        seat.types(":q\r");
        // the simulated clusters end with it, which takes longer on a busy machine
        assert!(seat.ends_within(Duration::from_secs(PATIENCE)).success());
        assert!(seat.is_restored());
    }
}

/// A kubeconfig with a cluster that accepts connections and says nothing, one that nobody listens for, and one whose
/// credential plugin waits.
fn unreachable(folder: &Path) -> std::net::TcpListener {
    let hangs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = format!(
        "current-context: hangs\n\
         clusters: [{{name: hangs, cluster: {{server: 'http://127.0.0.1:{}'}}}}, {{name: down, cluster: {{server: 'http://127.0.0.1:{nobody}'}}}}, {{name: tls, cluster: {{server: 'https://127.0.0.1:{nobody}', insecure-skip-tls-verify: true}}}}]\n\
         users: [{{name: u, user: {{token: t}}}}, {{name: waits, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: /bin/sleep, args: ['60'], interactiveMode: IfAvailable}}}}}}]\n\
         contexts: [{{name: hangs, context: {{cluster: hangs, user: u}}}}, {{name: down, context: {{cluster: down, user: u}}}}, {{name: waits, context: {{cluster: tls, user: waits}}}}]\n",
        hangs.local_addr().unwrap().port()
    );
    std::fs::write(folder.join("kubeconfig"), text).unwrap();
    hangs
}

#[test]
fn clusters_that_cannot_be_reached_delay_neither_the_start_nor_keys_nor_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let _hangs = unreachable(folder.path());
    let kubeconfig = folder.path().join("kubeconfig");
    let began = Instant::now();
    let args = ["--context", "waits", "--context", "hangs", "--context", "down"];
    let mut seat = Start { args: &args, size: (80, 24), ..Start::new(&kubeconfig) }.sit();
    seat.sees(&["waits", "connecting", "? help"]);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // nothing of the plugin is written over the screen
    seat.wait_for("the one that is down is told", PATIENCE, |seat| line(seat, "down").contains("DOWN"));
    seat.press("\x14", &["connecting", "open"]);
    seat.types("\x1b");
    seat.quiet(Duration::from_millis(100), Duration::from_millis(500));
    seat.press(":ctx hangs\r", &["now in front: hangs"]);
    seat.types(":q\r");
    assert!(seat.ends_within(GONE_WITHIN).success());
    assert!(seat.is_restored());
}
