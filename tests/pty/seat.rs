//! A user at a terminal: the binary behind a pty, its output as a parsed screen, and waiting for predicates.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

/// How long a step may take on a machine that is busy with other things.
pub const PATIENCE: u64 = 30;

/// What a person needs to read a plan: longer than what the program calls too early.
pub const READING: Duration = Duration::from_millis(400);
/// How long the rest of a frame may take; that of a stopped process never comes.
const FRAME: Duration = Duration::from_millis(500);
/// From the signal to the end of the process.
pub const GONE_WITHIN: Duration = Duration::from_secs(1);

/// The terminal, the process in it, and its home.
pub struct Seat {
    parser: vt100::Parser,
    bytes: Receiver<Vec<u8>>,
    /// Everything that was written so far.
    pub raw: Vec<u8>,
    child: Box<dyn Child + Send + Sync>,
    master: Option<Box<dyn MasterPty + Send>>,
    keys: Option<Box<dyn Write + Send>>,
    leave: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    home: tempfile::TempDir,
}

/// What is to be started, and where.
pub struct Start<'a> {
    /// None for a demo, which brings its own.
    pub kubeconfig: Option<&'a Path>,
    pub args: &'a [&'a str],
    pub size: (u16, u16),
    pub env: &'a [(&'a str, &'a str)],
    /// The text of the config file.
    pub config: Option<&'a str>,
    /// A script of a shell with job control that starts it by `"$@"`.
    pub shell: Option<&'a str>,
}

impl<'a> Start<'a> {
    pub fn new(kubeconfig: &'a Path) -> Self {
        Self { kubeconfig: Some(kubeconfig), ..Self::without_kubeconfig() }
    }

    pub fn without_kubeconfig() -> Self {
        Self { kubeconfig: None, args: &[], size: (120, 36), env: &[], config: None, shell: None }
    }

    pub fn sit(&self) -> Seat {
        let home = tempfile::tempdir().unwrap();
        if let Some(config) = self.config {
            let folder = home.path().join("config/pilothouse");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("config.toml"), config).unwrap();
        }
        let pty = native_pty_system().openpty(pty_size(self.size)).unwrap();
        let built = env!("CARGO_BIN_EXE_pilothouse").into();
        let built = std::env::var_os("PILOTHOUSE_TEST_BINARY").unwrap_or(built);
        let mut command = match self.shell {
            Some(script) => {
                let mut shell = CommandBuilder::new("/bin/sh");
                shell.args(["-c", &format!("set -m; {script}"), "sh"]);
                shell.arg(built);
                shell
            }
            None => CommandBuilder::new(built),
        };
        command.env_clear();
        for (name, value) in [("TERM", "xterm-256color"), ("LANG", "C.UTF-8"), ("PATH", "/usr/bin:/bin")] {
            command.env(name, value);
        }
        for (name, folder) in [("HOME", "."), ("XDG_CONFIG_HOME", "config"), ("XDG_STATE_HOME", "state")] {
            command.env(name, home.path().join(folder));
        }
        for (name, value) in self.env {
            command.env(name, value);
        }
        if let Some(kubeconfig) = self.kubeconfig {
            command.arg("--kubeconfig");
            command.arg(kubeconfig);
        }
        command.args(self.args);
        command.cwd(home.path());
        let child = pty.slave.spawn_command(command).unwrap();
        drop(pty.slave);
        let mut from = pty.master.try_clone_reader().unwrap();
        let (out, bytes) = channel();
        let leave = Arc::new(AtomicBool::new(false));
        let left = leave.clone();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0u8; 16 * 1024];
            // the end of the process is an error on Linux
            while let Ok(n) = from.read(&mut buffer) {
                if n == 0 || left.load(Ordering::SeqCst) || out.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let (width, height) = self.size;
        Seat {
            parser: vt100::Parser::new(cells(height), cells(width), 0),
            bytes,
            raw: Vec::new(),
            child,
            keys: Some(pty.master.take_writer().unwrap()),
            master: Some(pty.master),
            leave,
            reader: Some(reader),
            home,
        }
    }
}

fn cells(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap()
}

fn pty_size((cols, rows): (u16, u16)) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}

impl Seat {
    /// The home of the process, with its state in `state`.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The screen as text.
    pub fn text(&self) -> String {
        self.parser.screen().contents()
    }

    pub fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// Takes in what comes within `time`, and then the rest of the frame that has begun: a pty hands a frame over in pieces, and
    /// half of one is no screen. False when nothing can come any more.
    fn take(&mut self, time: Duration) -> bool {
        let mut time = time;
        loop {
            let first = match self.bytes.recv_timeout(time) {
                Ok(bytes) => bytes,
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            };
            let rest: Vec<u8> = self.bytes.try_iter().flatten().collect();
            for bytes in [first, rest] {
                self.parser.process(&bytes);
                self.raw.extend(bytes);
            }
            if !self.within_a_frame() {
                return true;
            }
            time = FRAME;
        }
    }

    /// A synchronized update (mode 2026) has begun and not ended.
    fn within_a_frame(&self) -> bool {
        let last = |mark: &[u8]| self.raw.windows(mark.len()).rposition(|w| w == mark);
        last(b"\x1b[?2026h") > last(b"\x1b[?2026l")
    }

    /// Waits until the parsed screen is as wanted; fails with the last screen.
    pub fn wait_for(&mut self, what: &str, secs: u64, predicate: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(secs);
        loop {
            if predicate(self) {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let open = !left.is_zero() && self.take(left);
            assert!(
                open || predicate(self),
                "{what}: not within {secs} s; the last screen:\n{}",
                self.text()
            );
        }
    }

    /// Waits until all words are on the screen.
    pub fn sees(&mut self, words: &[&str]) {
        self.wait_for(&format!("{words:?}"), PATIENCE, |seat| {
            let text = seat.text();
            words.iter().all(|word| text.contains(word))
        });
    }

    /// Types, at once.
    pub fn types(&mut self, keys: &str) {
        let out = self.keys.as_mut().unwrap();
        out.write_all(keys.as_bytes()).unwrap();
        out.flush().unwrap();
    }

    /// Types and waits for what follows. A person sees a frame before they press the key that it is about, so what is on its
    /// way comes first.
    pub fn press(&mut self, keys: &str, then: &[&str]) {
        self.quiet(Duration::from_millis(30), Duration::from_millis(300));
        self.types(keys);
        self.sees(then);
    }

    /// As a terminal hands over what was pasted.
    pub fn pastes(&mut self, text: &str) {
        self.types(&format!("\x1b[200~{text}\x1b[201~"));
    }

    pub fn resize(&mut self, size: (u16, u16)) {
        self.parser.set_size(cells(size.1), cells(size.0));
        self.master.as_ref().unwrap().resize(pty_size(size)).unwrap();
    }

    /// How many bytes come within a time, all of it waited for.
    pub fn bytes_within(&mut self, time: Duration) -> usize {
        let (before, deadline) = (self.raw.len(), Instant::now() + time);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.take(left) {
                return self.raw.len() - before;
            }
        }
    }

    /// Presses `y` in a rehearsal until it counts: it does not before the plan has been on the screen for a moment.
    pub fn says_yes(&mut self, title: &str) {
        for _ in 0..20 {
            self.bytes_within(READING);
            if !self.text().contains(title) {
                return;
            }
            self.types("y");
            self.wait_for("yes is taken or too early", PATIENCE, |seat| {
                !seat.text().contains(title) || seat.text().contains("too early")
            });
        }
        panic!("always too early:\n{}", self.text());
    }

    /// Takes in what comes until nothing has for a while, at most `most`.
    pub fn quiet(&mut self, pause: Duration, most: Duration) {
        let deadline = Instant::now() + most;
        while Instant::now() < deadline && self.bytes_within(pause) > 0 {}
    }

    /// The memory of the process that is in use, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.process_id().unwrap());
        let text = std::fs::read_to_string(status).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end of the process, taking in what it still writes.
    pub fn ends_within(&mut self, time: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                while self.reader.is_some() && self.take(Duration::from_secs(5)) {}
                return status;
            }
            assert!(begun.elapsed() < time, "still there after {time:?}:\n{}", self.text());
            if !self.take(Duration::from_millis(10)) {
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.process_id().unwrap()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Closes the other end of the terminal: the connection broke.
    pub fn hangs_up(&mut self) {
        // the reader has an end of its own and lets go of it at the next byte: a repaint
        self.leave.store(true, Ordering::SeqCst);
        self.types("\x0c");
        self.reader.take().unwrap().join().unwrap();
        self.keys = None;
        self.master = None;
    }

    /// The alternate screen is left, the cursor is there, pasting and wrapping are as they were.
    pub fn is_restored(&self) -> bool {
        let screen = self.parser.screen();
        let wraps = |bytes: &[u8]| self.raw.windows(bytes.len()).rposition(|w| w == bytes);
        !screen.alternate_screen()
            && !screen.hide_cursor()
            && !screen.bracketed_paste()
            && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
            && wraps(b"\x1b[?7h") > wraps(b"\x1b[?7l")
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // a test that failed must not leave a process behind
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
