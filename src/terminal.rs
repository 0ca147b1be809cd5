//! The terminal: takes it over and restores it, reads keys and signals, and writes frames.
//!
//! Three threads: one reads keys and notices when the terminal is gone, one waits for signals, one writes frames. None
//! of them is joined at the end, because a write to a dead link may never return, and the process must exit within a
//! second.

mod decode;

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use nix::unistd::{getpgid, getppid, getsid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::clock::Clock;
use crate::ui::run::{FrameBytes, Input};
use decode::{Decoder, Typed};

/// Alternate screen, bracketed paste, no cursor, no line wrapping.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?2004h\x1b[?25l\x1b[?7l";
/// Restores all of this in reverse order. Also ends a synchronized update that was interrupted.
const LEAVE: &[u8] = b"\x1b[?2026l\x1b[?1006l\x1b[?1000l\x1b[0m\x1b[?7h\x1b[?25h\x1b[?2004l\x1b[?1049l";

/// Set while we own the terminal, so that the panic hook and the guard restore it only once.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, which is restored when this is dropped.
#[derive(Debug)]
pub struct Terminal {
    /// The process is suspended, so frames are discarded.
    paused: Arc<AtomicBool>,
}

impl Terminal {
    /// Takes the terminal over. Also sets a panic hook that restores it before the message is printed.
    pub fn take() -> io::Result<Self> {
        if !io::stdout().is_terminal() {
            return Err(io::Error::other("standard output is not a terminal"));
        }
        // we choose a colourless theme ourselves; crossterm's NO_COLOR would also remove bold and reverse
        crossterm::style::force_color_output(true);
        crossterm::terminal::enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let terminal = Self { paused: Arc::default() };
        write_all(ENTER)?;
        let before = std::panic::take_hook();
        let screen = thread::current().id();
        std::panic::set_hook(Box::new(move |panic| {
            // a task that panics is restarted, or ends with the process; only a panic of the screen's own thread
            // restores the terminal, so that no message is written over the screen or over the shell
            if thread::current().id() == screen {
                give_back();
                before(panic);
            } else {
                tracing::error!(%panic, "a task panicked");
            }
        }));
        Ok(terminal)
    }

    /// The size in cells; 80x24 if the terminal does not report one.
    pub fn size() -> (u16, u16) {
        crossterm::terminal::size().ok().filter(|(w, h)| *w > 0 && *h > 0).unwrap_or((80, 24))
    }

    /// Starts the three threads. Keys and signals go to `inbox`; the returned sender accepts one frame at a time.
    pub fn start(&self, inbox: &SyncSender<Input>) -> io::Result<SyncSender<FrameBytes>> {
        let (frames, outgoing) = sync_channel(1);
        let to = inbox.clone();
        let tty = tty()?;
        thread::Builder::new().name("keys".into()).spawn(move || read_keys(&tty, &to))?;
        let mut signals = Signals::new([SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT])?;
        let (to, paused) = (inbox.clone(), self.paused.clone());
        thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                if !take_signal(signal, &to, &paused) {
                    return;
                }
            }
        })?;
        let (to, paused) = (inbox.clone(), self.paused.clone());
        thread::Builder::new().name("frames".into()).spawn(move || write_frames(&outgoing, &to, &paused))?;
        Ok(frames)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.paused.store(true, Ordering::SeqCst);
        give_back();
    }
}

/// Stops this process, as ctrl-z does in other programs. Err: no process could continue it, so it would stay stopped.
pub fn suspend() -> Result<(), &'static str> {
    let alone = "no shell with job control has started this: there is nothing to go back to";
    // a process that can continue us is in our session and in another process group; without one, our group is orphaned
    // in the sense of POSIX, and the terminal does not stop orphaned groups either
    // an id is 0 if its leader is outside of our pid namespace, as under nsenter; rustix cannot represent 0
    let parent = Some(getppid());
    if getsid(parent) != getsid(None) || getpgid(parent) == getpgid(None) {
        return Err(alone);
    }
    kill_process(getpid(), Signal::TSTP).map_err(|_| "this process cannot be stopped")
}

/// Restores the terminal; further calls do nothing.
pub fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // nothing can be done if the terminal accepts no output any more
        if can_write(100) {
            drop(write_all(LEAVE));
        }
        drop(crossterm::terminal::disable_raw_mode());
    }
}

/// Bypasses the standard library's lock, which a writer that hangs would hold for ever.
fn write_all(mut bytes: &[u8]) -> io::Result<()> {
    let out = io::stdout();
    while !bytes.is_empty() {
        match rustix::io::write(out.as_fd(), bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                if !can_write(1000) {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether the terminal accepts output within that many milliseconds.
fn can_write(millis: i64) -> bool {
    let out = io::stdout();
    let mut fds = [PollFd::new(&out, PollFlags::OUT)];
    let timeout = Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 };
    matches!(poll(&mut fds, Some(&timeout)), Ok(n) if n > 0)
        && fds.first().is_some_and(|fd| fd.revents().contains(PollFlags::OUT))
}

/// Where keys are read from: standard input, or the controlling terminal.
fn tty() -> io::Result<OwnedFd> {
    if io::stdin().is_terminal() {
        io::stdin().as_fd().try_clone_to_owned()
    } else {
        File::open("/dev/tty").map(OwnedFd::from)
    }
}

/// The result of poll.
enum PollResult {
    Readable,
    Timeout,
    HungUp,
}

fn wait_for_input(tty: BorrowedFd<'_>, millis: i64) -> PollResult {
    let mut fds = [PollFd::from_borrowed_fd(tty, PollFlags::IN)];
    let timeout = Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 };
    match poll(&mut fds, Some(&timeout)) {
        Ok(0) | Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => PollResult::Timeout,
        Ok(_) => {
            let seen = fds.first().map_or(PollFlags::empty(), PollFd::revents);
            if seen.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
                return PollResult::HungUp;
            }
            PollResult::Readable
        }
        Err(_) => PollResult::HungUp,
    }
}

/// How long to wait for the rest of an escape sequence on a slow link before a lone ESC counts as the key.
const ESCAPE_MS: i64 = 50;

fn read_keys(tty: &OwnedFd, inbox: &SyncSender<Input>) {
    let mut decoder = Decoder::default();
    let mut bytes = [0u8; 4096];
    loop {
        let typed = match wait_for_input(tty.as_fd(), if decoder.is_waiting() { ESCAPE_MS } else { 1000 }) {
            PollResult::Timeout => decoder.flush(),
            PollResult::HungUp => break,
            PollResult::Readable => match rustix::io::read(tty, &mut bytes[..]) {
                Ok(0) => break,
                Ok(n) => decoder.feed(bytes.get(..n).unwrap_or_default()),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Vec::new(),
                Err(_) => break,
            },
        };
        let at = Clock::instant();
        for typed in typed {
            let input = match typed {
                Typed::Key(key) => Input::Key(key, at),
                Typed::Mouse(mouse) => Input::Mouse(mouse),
                Typed::Paste(text) => Input::Paste(text),
            };
            if inbox.send(input).is_err() {
                return;
            }
        }
    }
    drop(inbox.send(Input::Hangup));
}

/// Returns false when there is nothing left to wait for.
fn take_signal(signal: i32, inbox: &SyncSender<Input>, paused: &AtomicBool) -> bool {
    match signal {
        SIGWINCH => {
            let (width, height) = Terminal::size();
            inbox.send(Input::Resize(width, height)).is_ok()
        }
        SIGHUP => {
            drop(inbox.send(Input::Hangup));
            false
        }
        SIGTERM | SIGINT | SIGQUIT => {
            drop(inbox.send(Input::Terminate));
            false
        }
        SIGTSTP => {
            paused.store(true, Ordering::SeqCst);
            give_back();
            // the process is stopped here until another one continues it
            kill_process(getpid(), Signal::STOP).is_ok()
        }
        SIGCONT => {
            if !TAKEN.load(Ordering::SeqCst) && paused.load(Ordering::SeqCst) {
                let again = crossterm::terminal::enable_raw_mode().and_then(|()| write_all(ENTER));
                if again.is_err() {
                    drop(inbox.send(Input::Hangup));
                    return false;
                }
                TAKEN.store(true, Ordering::SeqCst);
                paused.store(false, Ordering::SeqCst);
            }
            let (width, height) = Terminal::size();
            inbox.send(Input::Resize(width, height)).is_ok() && inbox.send(Input::Repaint).is_ok()
        }
        _ => true,
    }
}

fn write_frames(frames: &Receiver<FrameBytes>, inbox: &SyncSender<Input>, paused: &AtomicBool) {
    while let Ok(frame) = frames.recv() {
        if !paused.load(Ordering::SeqCst) && write_all(&frame.bytes).is_err() {
            drop(inbox.send(Input::Hangup));
            return;
        }
        if inbox.send(Input::Written(frame.number)).is_err() {
            return;
        }
    }
}
