//! The terminal: taking it over and giving it back, keys and signals in, frames out.
//!
//! Three threads: one reads keys and watches for the end of the terminal, one
//! waits for signals, one writes frames. None of them is waited for at the end: a write to a dead link may never
//! return, and the process has a second to go.

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

/// Alternate screen, bracketed paste, no cursor, no wrapping at the edge.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?2004h\x1b[?25l\x1b[?7l";
/// Everything back, in the other order; also ends a synchronized update that was cut off.
const LEAVE: &[u8] = b"\x1b[?2026l\x1b[?1006l\x1b[?1000l\x1b[0m\x1b[?7h\x1b[?25h\x1b[?2004l\x1b[?1049l";

/// Set while the terminal is ours: the panic hook and the guard give it back once.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, ours until this is dropped.
#[derive(Debug)]
pub struct Terminal {
    /// Frames are thrown away: we are stopped.
    paused: Arc<AtomicBool>,
}

impl Terminal {
    /// Takes the terminal over. Also sets a panic hook that gives it back before the message is printed.
    pub fn take() -> io::Result<Self> {
        if !io::stdout().is_terminal() {
            return Err(io::Error::other("standard output is not a terminal"));
        }
        // a colourless theme is ours to choose; crossterm's NO_COLOR would wipe bold and reverse as well
        crossterm::style::force_color_output(true);
        crossterm::terminal::enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let terminal = Self { paused: Arc::default() };
        write_all(ENTER)?;
        let before = std::panic::take_hook();
        let screen = thread::current().id();
        std::panic::set_hook(Box::new(move |panic| {
            // a task that panics is started anew while the screen goes on, or ends with us: only the screen's own end
            // gives the terminal back, and nothing else is written over it or over the shell
            if thread::current().id() == screen {
                give_back();
                before(panic);
            } else {
                tracing::error!(%panic, "a task panicked");
            }
        }));
        Ok(terminal)
    }

    /// The size in cells; 80x24 where the terminal does not say.
    pub fn size() -> (u16, u16) {
        crossterm::terminal::size().ok().filter(|(w, h)| *w > 0 && *h > 0).unwrap_or((80, 24))
    }

    /// Starts the three threads. Keys and signals go to `inbox`; the sender that is returned takes one frame at a time.
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

/// Stops this process as ctrl-z does elsewhere. Err: nobody would continue it, so that it would stand for ever.
pub fn suspend() -> Result<(), &'static str> {
    let alone = "no shell with job control has started this: there is nothing to go back to";
    // whoever continues us is in our session and in another process group: POSIX calls a group without one orphaned,
    // and its processes are not stopped by the terminal either
    // the ids are 0 where their leader is outside of our pid namespace, as under nsenter, for which rustix has no value
    let parent = Some(getppid());
    if getsid(parent) != getsid(None) || getpgid(parent) == getpgid(None) {
        return Err(alone);
    }
    kill_process(getpid(), Signal::TSTP).map_err(|_| "this process cannot be stopped")
}

/// Restores the terminal, once however often it is called.
pub fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // there is nothing to be done about a terminal that takes nothing any more
        if can_write(100) {
            drop(write_all(LEAVE));
        }
        drop(crossterm::terminal::disable_raw_mode());
    }
}

/// Past the standard library's lock, which a writer that hangs would hold for ever.
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

/// Whether the terminal takes something within that many milliseconds.
fn can_write(millis: i64) -> bool {
    let out = io::stdout();
    let mut fds = [PollFd::new(&out, PollFlags::OUT)];
    let timeout = Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 };
    matches!(poll(&mut fds, Some(&timeout)), Ok(n) if n > 0)
        && fds.first().is_some_and(|fd| fd.revents().contains(PollFlags::OUT))
}

/// Where keys come from: standard input, or the controlling terminal.
fn tty() -> io::Result<OwnedFd> {
    if io::stdin().is_terminal() {
        io::stdin().as_fd().try_clone_to_owned()
    } else {
        File::open("/dev/tty").map(OwnedFd::from)
    }
}

/// What poll said.
enum Waited {
    Ready,
    Nothing,
    Gone,
}

fn wait_for_input(tty: BorrowedFd<'_>, millis: i64) -> Waited {
    let mut fds = [PollFd::from_borrowed_fd(tty, PollFlags::IN)];
    let timeout = Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 };
    match poll(&mut fds, Some(&timeout)) {
        Ok(0) | Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Waited::Nothing,
        Ok(_) => {
            let seen = fds.first().map_or(PollFlags::empty(), PollFd::revents);
            if seen.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
                return Waited::Gone;
            }
            Waited::Ready
        }
        Err(_) => Waited::Gone,
    }
}

/// How long the rest of an escape sequence may take on a slow link before a lone ESC is the key.
const ESCAPE_MS: i64 = 50;

fn read_keys(tty: &OwnedFd, inbox: &SyncSender<Input>) {
    let mut decoder = Decoder::default();
    let mut bytes = [0u8; 4096];
    loop {
        let typed = match wait_for_input(tty.as_fd(), if decoder.is_waiting() { ESCAPE_MS } else { 1000 }) {
            Waited::Nothing => decoder.settle(),
            Waited::Gone => break,
            Waited::Ready => match rustix::io::read(tty, &mut bytes[..]) {
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

/// Returns false when there is nothing more to wait for.
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
            // from here on we stand still until somebody continues us
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
