//! The main loop of the screen, on its own thread. It waits, handles all messages, updates the state, and draws only
//! if something has changed. A key is drawn immediately. Changes of the cluster are drawn at most `max_fps` times a
//! second. The loop never waits for the terminal: while a frame is written, only the newest state is kept.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pilothouse_core::domain::id::Name;
use pilothouse_core::facts::world::World;

use super::app::Ui;
use super::key::Key;
use super::mouse::Mouse;
use super::paint::{Painter, text_of};
use super::request::{Effect, LogLine, LogNote, Msg, Reply, Ticket};
use super::theme::Theme;
use super::update::{on_screen, update};
use super::view;
use crate::clock::Clock;

/// An input of the queue.
#[derive(Clone, Debug)]
pub enum Input {
    /// A key and the time at which it was read, so that keys that were typed ahead can be detected.
    Key(Key, Instant),
    Mouse(Mouse),
    Paste(String),
    Resize(u16, u16),
    /// The cell contains a new World.
    World,
    Reply(Ticket, Reply),
    /// The last part is dropped when the lines were taken, so that their sender knows when to send more. A flood of
    /// lines must not stand between a key and its frame.
    LogLines(Ticket, Vec<LogLine>, Arc<dyn Any + Send + Sync>),
    LogNotes(Ticket, Vec<LogNote>),
    LogEnded(Ticket),
    Notice(String),
    /// The cluster of a context was not opened, with the reason.
    NotOpened(Name, String),
    /// A message for the permanent banner.
    Problem(String),
    /// The recording ended before the console did, with the reason.
    Unrecorded(String),
    /// The writer has written the frame with this number.
    Written(u64),
    /// The content of the screen is unknown: after a stop, or after a resize that the terminal did itself.
    Repaint,
    /// The terminal is closed, or the process received SIGHUP or SIGTERM.
    Hangup,
    Terminate,
}

/// The reason why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The user quit.
    Quit,
    /// The terminal is closed, so nothing more can be shown.
    Hangup,
    /// The process received SIGTERM or SIGINT.
    Terminated,
}

/// The capacity of the queue.
const QUEUE: usize = 1024;

/// Creates the queue and returns its two ends.
pub fn queue() -> (SyncSender<Input>, Receiver<Input>) {
    sync_channel(QUEUE)
}

/// The cell in which the hub publishes. It keeps only the newest World, and sends one wake message for any number of
/// publications.
#[derive(Clone)]
pub struct WorldCell {
    newest: Arc<Mutex<Arc<World>>>,
    told: Arc<AtomicBool>,
    wake: SyncSender<Input>,
}

impl WorldCell {
    /// Creates a cell that wakes the loop through `wake`.
    pub fn new(wake: SyncSender<Input>) -> Self {
        Self { newest: Arc::default(), told: Arc::default(), wake }
    }

    /// Replaces the World. Never waits.
    pub fn publish(&self, world: Arc<World>) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = world;
        if !self.told.swap(true, Ordering::SeqCst) {
            match self.wake.try_send(Input::World) {
                Ok(()) => {}
                // if the queue is full, the next publication tries again, and the loop checks the cell every second
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    self.told.store(false, Ordering::SeqCst);
                }
            }
        }
    }

    /// Returns the newest World.
    pub fn latest(&self) -> Arc<World> {
        self.told.store(false, Ordering::SeqCst);
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A frame that is sent to the terminal.
#[derive(Debug)]
pub struct FrameBytes {
    pub number: u64,
    pub bytes: Vec<u8>,
}

/// The parts that the loop needs in addition to its state.
pub struct Stage {
    pub world: WorldCell,
    pub inbox: Receiver<Input>,
    /// The queue to the writer, with room for one frame.
    pub frames: SyncSender<FrameBytes>,
    pub clock: Clock,
    pub theme: Theme,
    pub ascii: bool,
    /// Whether the terminal knows hyperlinks.
    pub hyperlinks: bool,
    pub max_fps: u32,
    pub size: (u16, u16),
}

/// Runs until the user quits or the terminal is closed. `perform` must not wait.
pub fn run(mut ui: Ui, stage: Stage, mut perform: impl FnMut(Effect)) -> Outcome {
    let start = Clock::instant();
    let millis =
        |at: Instant| u64::try_from(at.saturating_duration_since(start).as_millis()).unwrap_or(u64::MAX);
    let frame_gap = Duration::from_millis(1000 / u64::from(stage.max_fps.clamp(1, 60)));
    let mut show = Show::new(stage.frames);
    show.painter.hyperlinks = stage.hyperlinks;
    show.extra.extend(mouse_mode(ui.mouse).iter().filter(|_| ui.mouse));
    let mut world = stage.world.latest();
    ui.size = stage.size;
    ui.frame = 1;
    let mut dirty = Dirty::Now;
    let mut last_news: Option<Instant> = None;
    let mut last_tick = start;
    loop {
        let now = Clock::instant();
        let wait = match dirty {
            Dirty::Now if !show.busy => Duration::ZERO,
            Dirty::Soon if !show.busy => {
                last_news.map_or(Duration::ZERO, |at| (at + frame_gap).saturating_duration_since(now))
            }
            _ => (last_tick + Duration::from_secs(1)).saturating_duration_since(now),
        };
        let mut next = if wait.is_zero() {
            stage.inbox.try_recv().ok()
        } else {
            match stage.inbox.recv_timeout(wait) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Outcome::Hangup,
            }
        };
        let now = Clock::instant();
        ui.now = ui.clock_of_front(&world, stage.clock.now(), stage.clock.offset_ms());
        ui.clock_ms = millis(now);
        let mut effects = Vec::new();
        let mut taken = 0;
        while let Some(input) = next {
            taken += 1;
            match input {
                Input::Key(key, at) => {
                    ui.clock_ms = millis(at);
                    effects.extend(update(&mut ui, &world, Msg::Key(key)));
                    ui.clock_ms = millis(now);
                    dirty = Dirty::Now;
                }
                Input::Mouse(gesture) => {
                    effects.extend(update(&mut ui, &world, Msg::Mouse(gesture)));
                    dirty = Dirty::Now;
                }
                Input::Paste(text) => {
                    effects.extend(update(&mut ui, &world, Msg::Paste(text)));
                    dirty = Dirty::Now;
                }
                Input::Resize(width, height) => {
                    effects.extend(update(&mut ui, &world, Msg::Resize(width, height)));
                    dirty = Dirty::Now;
                }
                Input::World => {
                    world = stage.world.latest();
                    effects.extend(update(&mut ui, &world, Msg::WorldChanged));
                    dirty = dirty.at_least_soon();
                }
                Input::Reply(ticket, reply) => {
                    effects.extend(update(&mut ui, &world, Msg::Reply(ticket, reply)));
                    dirty = Dirty::Now;
                }
                Input::LogLines(ticket, lines, _taken) => {
                    effects.extend(update(&mut ui, &world, Msg::LogLines(ticket, lines)));
                    dirty = dirty.at_least_soon();
                }
                Input::LogNotes(ticket, notes) => {
                    effects.extend(update(&mut ui, &world, Msg::LogNotes(ticket, notes)));
                    dirty = dirty.at_least_soon();
                }
                Input::LogEnded(ticket) => {
                    effects.extend(update(&mut ui, &world, Msg::LogEnded(ticket)));
                    dirty = dirty.at_least_soon();
                }
                Input::Notice(words) => {
                    effects.extend(update(&mut ui, &world, Msg::Notice(words)));
                    dirty = dirty.at_least_soon();
                }
                Input::NotOpened(context, why) => {
                    effects.extend(update(&mut ui, &world, Msg::NotOpened(context, why)));
                    dirty = dirty.at_least_soon();
                }
                Input::Problem(words) => {
                    effects.extend(update(&mut ui, &world, Msg::Problem(words)));
                    dirty = dirty.at_least_soon();
                }
                Input::Unrecorded(why) => {
                    effects.extend(update(&mut ui, &world, Msg::Unrecorded(why)));
                    dirty = dirty.at_least_soon();
                }
                Input::Written(number) => {
                    show.busy = false;
                    ui.painted(number);
                    if ui.dialog.as_ref().is_some_and(|d| d.painted == Some(ui.clock_ms)) {
                        // the dialog changes from `wait …` to the question
                        dirty = dirty.at_least_soon();
                    }
                }
                Input::Repaint => {
                    show.painter.forget();
                    show.extra.extend(mouse_mode(ui.mouse));
                    dirty = Dirty::Now;
                }
                Input::Hangup => return Outcome::Hangup,
                Input::Terminate => return Outcome::Terminated,
            }
            // keys that were pressed together are drawn together, but a flood of messages must not delay the frame
            next = if taken < 256 { stage.inbox.try_recv().ok() } else { None };
        }
        if now.saturating_duration_since(last_tick) >= Duration::from_secs(1) {
            last_tick = now;
            world = stage.world.latest();
            effects.extend(update(&mut ui, &world, Msg::Tick));
            dirty = dirty.at_least_soon();
        }
        for effect in effects {
            match effect {
                Effect::Quit => return Outcome::Quit,
                Effect::Redraw => {
                    show.painter.forget();
                    dirty = Dirty::Now;
                }
                Effect::Mouse => show.extra.extend(mouse_mode(ui.mouse)),
                Effect::Copy(text) => show.extra.extend(ui.clipboard.bytes(&text)),
                Effect::ScreenDump(_) => {
                    let text = show.painter.shown().map(text_of).unwrap_or_default();
                    perform(Effect::ScreenDump(text));
                }
                other => perform(other),
            }
        }
        let due = match dirty {
            Dirty::No => false,
            Dirty::Now => true,
            Dirty::Soon => last_news.is_none_or(|at| now.saturating_duration_since(at) >= frame_gap),
        };
        if due && !show.busy {
            let (width, height) = ui.size;
            let drawn = draw(&mut ui, &world, &stage.theme, stage.ascii, (width, height));
            match show.send(drawn, ui.frame) {
                Sent::Frame => ui.frame += 1,
                // the screen already shows this state
                Sent::Nothing => ui.painted(ui.frame),
                Sent::Gone => return Outcome::Hangup,
            }
            dirty = Dirty::No;
            last_news = Some(now);
        }
    }
}

/// Draws one frame: updates what is on the screen, draws it, and records the sizes.
pub fn draw(ui: &mut Ui, world: &World, theme: &Theme, ascii: bool, size: (u16, u16)) -> view::Drawn {
    ui.size = size;
    let then = ui.enter_past(world);
    let shown = then.as_deref().unwrap_or(world);
    on_screen(ui, shown);
    let drawn = view::draw(ui, shown, theme, ascii);
    ui.leave_past();
    ui.take_in(drawn.seen.clone());
    drawn
}

/// Returns the sequence that requests clicks and the wheel from the terminal, including columns beyond 223, or stops
/// the requests.
fn mouse_mode(on: bool) -> &'static [u8] {
    if on { b"\x1b[?1000h\x1b[?1006h" } else { b"\x1b[?1006l\x1b[?1000l" }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dirty {
    No,
    Soon,
    Now,
}

impl Dirty {
    fn at_least_soon(self) -> Self {
        if self == Self::No { Self::Soon } else { self }
    }
}

/// The connection to the terminal.
struct Show {
    painter: Painter,
    frames: SyncSender<FrameBytes>,
    /// Whether a frame is being written.
    busy: bool,
    /// Bytes that are sent with the next frame, such as the clipboard text.
    extra: Vec<u8>,
}

enum Sent {
    Frame,
    Nothing,
    Gone,
}

impl Show {
    fn new(frames: SyncSender<FrameBytes>) -> Self {
        Self { painter: Painter::default(), frames, busy: false, extra: Vec::new() }
    }

    fn send(&mut self, drawn: view::Drawn, number: u64) -> Sent {
        let mut bytes = std::mem::take(&mut self.extra);
        let painted = self.painter.paint_linked(drawn.buffer, drawn.cursor, drawn.seen.links);
        bytes.extend(painted.unwrap_or_default());
        if bytes.is_empty() {
            return Sent::Nothing;
        }
        match self.frames.try_send(FrameBytes { number, bytes }) {
            Ok(()) => {
                self.busy = true;
                Sent::Frame
            }
            Err(TrySendError::Full(_)) => {
                // this cannot occur, because a frame is sent only after the previous one was written
                self.painter.forget();
                self.busy = true;
                Sent::Frame
            }
            Err(TrySendError::Disconnected(_)) => Sent::Gone,
        }
    }
}
