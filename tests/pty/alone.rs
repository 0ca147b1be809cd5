//! Without any cluster: the terminal, signals, the configuration, and a server that does not answer.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::seat::{GONE_WITHIN, PATIENCE, Seat, Start};

/// A kubeconfig whose server is a port where nothing listens.
struct Nowhere {
    folder: tempfile::TempDir,
    address: String,
}

impl Nowhere {
    fn new() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (folder, address) = (tempfile::tempdir().unwrap(), format!("127.0.0.1:{port}"));
        let text = format!(
            r#"{{"apiVersion":"v1","kind":"Config","current-context":"nowhere",
            "clusters":[{{"name":"c","cluster":{{"server":"http://{address}"}}}}],"users":[{{"name":"u","user":{{}}}}],
            "contexts":[{{"name":"nowhere","context":{{"cluster":"c","user":"u"}}}}]}}"#
        );
        std::fs::write(folder.path().join("kubeconfig"), text).unwrap();
        Self { folder, address }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    fn sit(&self) -> Seat {
        let mut seat = Start::new(&self.kubeconfig()).sit();
        seat.sees(&["nowhere", "? help", "refused"]);
        seat
    }
}

#[test]
fn a_server_that_is_not_there_is_named_and_tried_again() {
    let nowhere = Nowhere::new();
    let mut seat = nowhere.sit();
    let address = nowhere.address.clone();
    seat.sees(&[&format!("no answer from http://{address}"), "GET http://", "retrying"]);
    let text = seat.text();
    for lie in ["no nodes", "no services", "no error lines", "0 Ready", "loading hpas"] {
        assert!(!text.contains(lie), "{lie}:\n{text}");
    }
    // a server listens there now: the console connects by itself
    let listener = std::net::TcpListener::bind(&address).unwrap();
    let (told, came) = std::sync::mpsc::channel();
    std::thread::spawn(move || drop(listener.accept().map(|_| told.send(()))));
    came.recv_timeout(Duration::from_secs(PATIENCE)).expect("it has stopped trying");
}

#[test]
fn nothing_is_written_while_nothing_changes() {
    let nowhere = Nowhere::new();
    let mut seat = nowhere.sit();
    seat.sees(&["retrying"]);
    // the sources fail one after the other at first, rounded ages move a few times a minute and the clock once:
    // between them there are quiet windows, although some source tries again every second
    let windows: Vec<usize> = (0..8).map(|_| seat.bytes_within(Duration::from_secs(3))).collect();
    let quiet = windows.iter().filter(|bytes| **bytes == 0).count();
    assert!(quiet >= 4, "bytes per three seconds: {windows:?}\n{}", seat.text());
}

#[test]
fn any_size_goes() {
    let nowhere = Nowhere::new();
    let mut seat = nowhere.sit();
    seat.resize((1, 1));
    seat.resize((39, 9));
    seat.sees(&["too small: 39x9"]);
    for (size, words) in [((80, 24), "? help"), ((200, 50), "4 Autoscalers"), ((80, 24), "? help")] {
        seat.resize(size);
        seat.wait_for(&format!("{size:?}"), PATIENCE, |seat| {
            let text = seat.text();
            let last = text.lines().count();
            text.contains(words) && last == usize::from(size.1) && !text.contains("too small")
        });
    }
    assert!(seat.runs());
    seat.press("?", &["CAPITALS"]);
}

#[test]
fn q_twice_leaves_and_gives_the_terminal_back() {
    let nowhere = Nowhere::new();
    let mut seat = nowhere.sit();
    assert!(seat.screen().alternate_screen() && seat.screen().hide_cursor());
    seat.press("q", &["q again quits"]);
    seat.types("q");
    let status = seat.ends_within(Duration::from_secs(2));
    assert!(status.success(), "{status}");
    assert!(
        seat.is_restored(),
        "{:?}",
        String::from_utf8_lossy(&seat.raw).chars().rev().take(80).collect::<String>()
    );
}

#[test]
fn the_end_of_the_terminal_ends_the_process() {
    let nowhere = Nowhere::new();
    let mut seat = nowhere.sit();
    seat.hangs_up();
    let status = seat.ends_within(GONE_WITHIN);
    assert!(!status.success(), "{status}");
}

#[test]
fn sigterm_ends_it_and_gives_the_terminal_back() {
    let nowhere = Nowhere::new();
    let mut seat = nowhere.sit();
    seat.signal(Signal::TERM);
    let status = seat.ends_within(GONE_WITHIN);
    assert!(!status.success() && status.signal().is_none(), "it ends by itself: {status}");
    assert!(seat.is_restored());
}

#[test]
fn a_signal_that_comes_while_the_terminal_is_there_gives_it_back() {
    for signal in [Signal::HUP, Signal::QUIT, Signal::INT] {
        let nowhere = Nowhere::new();
        let mut seat = nowhere.sit();
        seat.signal(signal);
        let status = seat.ends_within(GONE_WITHIN);
        assert!(!status.success() && status.signal().is_none(), "it ends by itself: {status}");
        assert!(seat.is_restored(), "{signal:?}");
    }
}

#[test]
fn ctrl_z_gives_the_terminal_to_the_shell_and_fg_takes_it_again() {
    let nowhere = Nowhere::new();
    let kubeconfig = nowhere.kubeconfig();
    let shell =
        Some(r#""$@"; echo "it stands"; read line; echo "the shell read $line"; fg; echo "it ended""#);
    let mut seat = Start { shell, ..Start::new(&kubeconfig) }.sit();
    seat.sees(&["no answer from", "? help"]);
    // also while a line is typed
    seat.press("/", &["Enter keeps"]);
    seat.types("\x1a");
    seat.wait_for("the shell", PATIENCE, |seat| seat.is_restored() && seat.text().contains("it stands"));
    seat.types("typed\r");
    seat.wait_for("the console again", PATIENCE, |seat| {
        seat.screen().alternate_screen() && seat.text().contains("no answer from")
    });
    assert!(String::from_utf8_lossy(&seat.raw).contains("the shell read typed"));
    seat.press("\x1b", &["? help"]);
    assert!(seat.screen().bracketed_paste());
    seat.wait_for("no cursor", PATIENCE, |seat| seat.screen().hide_cursor());
    seat.press("q", &["q again quits"]);
    seat.types("q");
    seat.wait_for("the end", PATIENCE, |seat| seat.is_restored() && seat.text().contains("it ended"));
}

#[test]
fn where_nobody_would_continue_it_ctrl_z_says_so() {
    let nowhere = Nowhere::new();
    let mut seat = nowhere.sit();
    seat.press("\x1a", &["there is nothing to go back to"]);
    assert!(seat.runs());
}

#[test]
fn a_bad_config_opens_with_a_banner() {
    let nowhere = Nowhere::new();
    let kubeconfig = nowhere.kubeconfig();
    let mut seat = Start { config: Some("[ui]\nthemee = \"light\"\n"), ..Start::new(&kubeconfig) }.sit();
    seat.sees(&["config.toml:2", "themee", "WRITE"]);
    // another key and another message do not hide it permanently
    seat.press("?", &["Problems of the configuration"]);
    seat.press("\x1b", &["1 Nodes"]);
    seat.sees(&["themee"]);

    let config = "[guards]\nprotected_contextss = [\"x\"]\n";
    let mut seat = Start { config: Some(config), ..Start::new(&kubeconfig) }.sit();
    seat.sees(&["config.toml:2", "protected_contextss", "READ-ONLY"]);
}

#[test]
fn without_colours_the_selected_row_still_shows() {
    let nowhere = Nowhere::new();
    let kubeconfig = nowhere.kubeconfig();
    let mut seat = Start { env: &[("NO_COLOR", "1")], ..Start::new(&kubeconfig) }.sit();
    seat.sees(&["no answer from"]);
    // NOW is the only list with rows here, so it has the focus
    seat.wait_for("a row in reverse", PATIENCE, |seat| {
        let inverse = |row, col| seat.screen().cell(row, col).is_some_and(vt100::Cell::inverse);
        (0..36).any(|row| (2..100).all(|col| inverse(row, col)))
    });
    let colours = colour_codes(&seat.raw);
    assert!(colours.is_empty(), "{colours:?}");
}

/// The SGR sequences that set a colour.
fn colour_codes(raw: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(raw);
    let codes = |c: char| c.is_ascii_digit() || c == ';' || c == ':';
    let sgr = text.split("\x1b[").skip(1).filter_map(|rest| {
        let after = rest.trim_start_matches(codes);
        after.starts_with('m').then(|| rest.strip_suffix(after).unwrap_or_default().to_owned())
    });
    let colour = |code: &str| matches!(code.parse(), Ok(30..=38 | 40..=48 | 90..=97 | 100..=107));
    sgr.filter(|codes| codes.split([';', ':']).any(colour)).collect()
}
