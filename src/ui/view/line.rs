//! Draws the single lines: the header, the job or message, and the keys.

use pilothouse_core::domain::plan::Act;
use pilothouse_core::facts::world::World;
use ratatui::layout::Rect;

use super::super::app::{Prompt, Screen, SilencePart, Ui};
use super::super::cell::{Cell, ListView, RowView, cell};
use super::super::command::{self, COMMANDS, ChangeCmd, Cmd, Risk};
use super::super::key::Key;
use super::super::list::ListId;
use super::super::mouse::Spot;
use super::super::pane::{self, actions};
use super::super::present::header::HeaderView;
use super::super::targets;
use super::super::theme::Role;
use super::super::widget::text;
use super::canvas::{Canvas, width_of};

/// Draws the header.
pub(super) fn header(canvas: &mut Canvas<'_>, area: Rect, view: &HeaderView) {
    let mut right = view.right.clone();
    let needed: u16 = view.groups.iter().map(|g| width_of(g) + 3).sum();
    while right.len() > 1 && needed + width_of(&right) + 2 > area.width {
        right.remove(0);
    }
    let right_width = width_of(&right);
    let mut groups = view.groups.clone();
    let taken = |groups: &[Vec<Cell>]| groups.iter().map(|g| width_of(g) + 3).sum::<u16>() + right_width + 1;
    for _ in 0..view.spare {
        if taken(&groups) > area.width
            && let Some(first) = groups.first_mut()
            && first.len() > 2
        {
            first.remove(2);
        }
    }
    let end = area.right().saturating_sub(right_width + 2);
    let mut x = area.left() + 1;
    for (i, group) in groups.iter().enumerate() {
        if i > 0 {
            // a group loses its last cells before one of them is cut, but not all that its first one is about
            let fits = |cells: &[Cell]| x + 2 + width_of(cells) <= end;
            let least = if group.first().is_some_and(|cell| cell.role == Role::Text) { 2 } else { 1 };
            let kept = (least..=group.len()).rev().find(|kept| fits(group.get(..*kept).unwrap_or(group)));
            let whole = group.get(..kept.unwrap_or(least)).unwrap_or(group);
            if x + 3 + width_of(whole).min(12) > end {
                break;
            }
            x = canvas.put(x + 1, area.top(), 1, Role::Border, "│") + 1;
            x = canvas.cells(x, area.top(), end, whole);
        } else {
            x = canvas.cells(x, area.top(), end, group);
        }
    }
    if right_width < area.width {
        canvas.cells(area.right() - right_width - 1, area.top(), area.right(), &right);
    }
}

/// Draws what is wrong with the filter that is typed, otherwise the message, otherwise the running job.
pub(super) fn job(canvas: &mut Canvas<'_>, area: Rect, ui: &Ui, world: &World) {
    if let Some(Prompt::LogFilter(open)) = &ui.prompt
        && let Some(problem) = open.shown_problem()
    {
        return whole(canvas, area, Role::Warning, &problem.to_string());
    }
    if let Some((note, _)) = &ui.note {
        return whole(canvas, area, Role::Note, note);
    }
    let mut job = actions::job(ui, world);
    if let (true, Some(cluster)) = (job.is_empty(), ui.shown(world)) {
        job = actions::unfinished(ui, world, cluster);
    }
    if let (true, Some(first)) = (job.is_empty(), ui.problems.first()) {
        let more = if ui.problems.len() > 1 {
            format!("(+{} more, ? shows)", ui.problems.len() - 1)
        } else {
            String::new()
        };
        job = vec![
            cell(Role::Warning, "!"),
            cell(Role::Warning, without_folders(first)),
            cell(Role::Dim, more),
        ];
    }
    // the longest texts are shortened in the middle, because their end is the reason or the name
    let mut widths: Vec<usize> = job.iter().map(|c| text::width(&c.text)).collect();
    give_way(&mut widths, width_of(&job).saturating_sub(area.width.saturating_sub(2)));
    for (cell, width) in job.iter_mut().zip(widths) {
        if text::width(&cell.text) > width {
            cell.text = text::middle(&cell.text, width);
        }
    }
    canvas.cells(area.left() + 1, area.top(), area.right(), &job);
}

/// Draws a message in its line. The rest of a long one takes the lines above, for as long as it is shown.
fn whole(canvas: &mut Canvas<'_>, area: Rect, role: Role, words: &str) {
    let width = area.width.saturating_sub(2);
    let lines = text::wrap(words, usize::from(width));
    let above = u16::try_from(lines.len().saturating_sub(1)).unwrap_or(0).min(area.top() / 2);
    let all = Rect { y: area.top() - above, height: above + 1, ..area };
    canvas.clear(all);
    for (y, line) in (all.top()..all.bottom()).zip(&lines) {
        canvas.put(area.left() + 1, y, width, role, line);
    }
}

/// Reduces the widths by `over` cells in total, always the widest first.
fn give_way(widths: &mut [usize], over: u16) {
    for _ in 0..over {
        if let Some(longest) = widths.iter_mut().max() {
            *longest = longest.saturating_sub(1);
        }
    }
}

/// Shortens the path in a problem to the name of the file. The help text has the whole path.
fn without_folders(problem: &str) -> &str {
    let place = problem.split(": ").next().filter(|place| place.contains(".toml:"));
    let folders = place.and_then(|place| place.rfind('/')).map_or(0, |at| at + 1);
    problem.get(folders..).unwrap_or(problem)
}

/// Draws the keys that work here, or the input line.
pub(super) fn keys(canvas: &mut Canvas<'_>, area: Rect, ui: &Ui, world: &World) {
    if let Some(prompt) = &ui.prompt {
        return typed(canvas, area, ui, prompt);
    }
    let mut x = area.left() + 1;
    let (last, hints): (Vec<_>, Vec<_>) =
        hints(ui, world).into_iter().partition(|(_, title, _)| *title == "help");
    let width = |(key, title, _): &(Key, &str, Role)| {
        u16::try_from(key.to_string().chars().count() + title.chars().count() + 1).unwrap_or(u16::MAX)
    };
    let reserved: u16 = last.iter().map(|h| width(h) + 2).sum();
    let mut room = area.width.saturating_sub(reserved + 1);
    let kept: Vec<_> = hints
        .into_iter()
        .filter(|h| {
            let fits = width(h) + 2 <= room;
            room = room.saturating_sub(if fits { width(h) + 2 } else { 0 });
            fits
        })
        .collect();
    for (key, title, role) in kept.into_iter().chain(last) {
        let words = if role == Role::Dim { Role::Dim } else { Role::KeyTitle };
        let wide = width(&(key, title, role)).min(area.right().saturating_sub(x));
        canvas.spot(Rect::new(x, area.top(), wide, 1), Spot::Key(key));
        x = canvas.put(x, area.top(), area.right() - x, role, &key.to_string());
        x = canvas.put(x + 1, area.top(), area.right().saturating_sub(x + 1), words, title) + 2;
    }
}

/// Returns keys and titles for the hint bar: first the commands that change the cluster, then the others in the order
/// of the table, and help last.
fn hints(ui: &Ui, world: &World) -> Vec<(Key, &'static str, Role)> {
    let contexts = ui.contexts();
    let most = command::LOG_ORDER.len();
    let log_order = |cmd| {
        let order = || command::LOG_ORDER.iter().position(|listed| *listed == cmd);
        matches!(ui.screen(), Screen::Log(_)).then(order).flatten()
    };
    let mut found: Vec<_> = COMMANDS
        .iter()
        .filter(|c| c.hint > 0 || log_order(c.cmd).is_some())
        .filter_map(|c| {
            let place = contexts.iter().position(|x| c.contexts.contains(x))?;
            // a narrower command on the same key hides this one
            Some((c, ui.keymap.keys_in(contexts, c.cmd).next()?, place))
        })
        .filter(|(c, ..)| match c.cmd {
            Cmd::Back => ui.screens.len() > 1,
            Cmd::AllClusters | Cmd::Compare => world.has_several(),
            Cmd::NextPane => matches!(ui.screen(), Screen::Panes),
            Cmd::Why => match ui.screen() {
                Screen::Text(view) => view.chosen.is_some(),
                _ => ui.active_list().is_none_or(|id| !ui.list(id).ids.is_empty()),
            },
            Cmd::CancelAction => targets::offered(ui, world, c.cmd),
            // the keys for matches are shown only after a search
            Cmd::NextMatch | Cmd::PreviousMatch => match ui.screen() {
                Screen::Text(view) => !view.find.is_empty(),
                Screen::Log(view) => !view.find.is_empty(),
                _ => false,
            },
            Cmd::Open(id) => !matches!(ui.screen(), Screen::List(on_top) if *on_top == id),
            _ => c.risk == Risk::None || targets::offered(ui, world, c.cmd),
        })
        .collect();
    found.sort_by_key(|(c, _, place)| {
        (c.risk == Risk::None, log_order(c.cmd).unwrap_or(most), c.hint, *place)
    });
    found
        .into_iter()
        .map(|(c, key, _)| {
            let paused = || targets::action(ui, world).is_some_and(|a| a.paused);
            let opens =
                |cmd, act: &Act| targets::act(ui, world, cmd).is_some_and(|(opened, _)| opened == *act);
            let title = match c.cmd {
                Cmd::Change(ChangeCmd::Cordon) if opens(c.cmd, &Act::Uncordon) => "uncordon",
                Cmd::Change(ChangeCmd::OutOfService) if opens(c.cmd, &Act::InService) => "back in service",
                Cmd::Change(ChangeCmd::PauseAction) if paused() => "continue",
                Cmd::CancelAction if targets::dismissible(ui, world) => "dismiss",
                Cmd::Follow if matches!(ui.screen(), Screen::Log(view) if view.follow) => "unfollow",
                Cmd::AllActions if ui.all_actions => "this cluster",
                Cmd::AllClusters if ui.fleet.all => "this cluster",
                Cmd::Change(ChangeCmd::Scale) if targets::scales_bounds(ui, world) => "bounds",
                // as its rows call it
                Cmd::Why if ui.active_list() == Some(ListId::Now) => "why",
                _ => c.title,
            };
            // at an earlier moment, nothing can be changed
            let permitted = |cmd| {
                // the rows of all other lists are of the cluster in front
                let can_be_elsewhere =
                    matches!(ui.screen(), Screen::Text(_)) || ui.active_list() == Some(ListId::Now);
                let object =
                    can_be_elsewhere.then(|| targets::of(ui, world, cmd).into_iter().next()).flatten();
                let home =
                    object.and_then(|object| world.cluster(object.cluster)).or_else(|| ui.shown(world));
                ui.past.is_none() && home.is_none_or(|cluster| command::permitted(cluster, cmd))
            };
            let role = match c.risk {
                Risk::Rehearsed if !permitted(c.cmd) => Role::Dim,
                Risk::Rehearsed => Role::KeyDanger,
                Risk::None => Role::Key,
            };
            (key, title, role)
        })
        .collect()
}

/// Names the keys of the list of clusters while its filter is typed. A key that types a character closes no cluster there.
fn clusters_hint(ui: &Ui) -> String {
    let places = pane::of(ListId::Clusters).contexts;
    let closes = ui.keymap.keys_in(places, Cmd::CloseCluster).find(|key| key.typed().is_none());
    let closes = closes.map_or_else(String::new, |key| format!("   {key} closes it"));
    format!("Up Down choose   Enter shows{closes}   Esc leaves")
}

fn typed(canvas: &mut Canvas<'_>, area: Rect, ui: &Ui, prompt: &Prompt) {
    // a sample of the input is shown until the user types
    let of_clusters = clusters_hint(ui);
    let (label, sample, hint): (String, &str, &str) = match prompt {
        Prompt::LogFilter(_) => {
            ("filter: ".into(), "level>=warn pod:api-* timeout", "Tab completes   Enter keeps   Esc drops")
        }
        Prompt::LogContainer { .. } => {
            ("container: ".into(), "", "Up Down choose   Enter shows   Esc closes")
        }
        Prompt::LogSince => (
            "since: ".into(),
            "0 newest  1 1m  2 5m  3 15m  4 1h  5 6h  6 24h",
            "a number reads   Esc closes",
        ),
        Prompt::Filter { list: ListId::Clusters, .. } => ("cluster: ".into(), "", &of_clusters),
        Prompt::Filter { .. } => ("/".into(), "", "a|b  !not  ^regex   Up earlier   Enter keeps   Esc drops"),
        Prompt::FindText => ("find: ".into(), "", "Enter finds   Esc closes"),
        Prompt::Palette { .. } => (":".into(), "", "Up Down choose   Enter opens   Esc closes"),
        Prompt::Scale { targets, from } => {
            let what = match targets.as_slice() {
                [one] => one.to_string(),
                more => format!("{} workloads", more.len()),
            };
            let now = from.map_or_else(String::new, |n| format!(" (now {n})"));
            (format!("scale {what}{now} to: "), "N, +N, -N or xN", "Enter rehearses   Esc closes")
        }
        Prompt::Bounds { target, min, max } => (
            format!("bounds of {target} (now {min}..{max}) to: "),
            "MIN-MAX, MIN- or -MAX",
            "Enter rehearses   Esc closes",
        ),
        Prompt::ServerWeight { target, now } => {
            let now = now.map_or_else(String::new, |now| format!(" (now {now:.0})"));
            (format!("weight of {}{now}: ", target.name), "0 to 256", "Enter rehearses   Esc closes")
        }
        Prompt::Silence { title, .. } => (
            format!("silence {} for: ", text::head(title, 40)),
            "30m, 8h, 2d; empty: until the console ends",
            "Enter silences   Esc closes",
        ),
        Prompt::SilenceAlerts(asks) => match asks.part {
            SilencePart::Matchers => {
                ("silence alerts with: ".into(), "alertname=\"Full\"", "Enter goes on   Esc closes")
            }
            SilencePart::Lasts => {
                ("for: ".into(), "30m, 8h, 2d", "Enter goes on   Up goes back   Esc closes")
            }
            SilencePart::Comment => {
                ("why: ".into(), "what is known, a ticket", "Enter rehearses   Up goes back   Esc closes")
            }
        },
        Prompt::Note { at, .. } => {
            (format!("note at {} UTC: ", at.clock_secs()), "what happened", "Enter keeps it   Esc closes")
        }
        Prompt::Tell => ("end the silence of: ".into(), "a number, or all", "Enter ends it   Esc closes"),
    };
    let x = canvas.put(area.left() + 1, area.top(), area.width.saturating_sub(2), Role::Key, &label);
    let room = area.right().saturating_sub(x);
    let (shown, cursor) = ui.input.shown(usize::from(room));
    let end = canvas.put(x, area.top(), room, Role::Input, &shown);
    let cursor = x.saturating_add(u16::try_from(cursor).unwrap_or(0));
    canvas.cursor = Some((cursor.min(area.right().saturating_sub(1)), area.top()));
    let end = if ui.input.is_empty() && !sample.is_empty() {
        canvas.put(end + 1, area.top(), area.right().saturating_sub(end + 1), Role::Dim, sample)
    } else {
        end
    };
    let room = area.right().saturating_sub(end.saturating_add(4));
    let width = u16::try_from(text::width(hint)).unwrap_or(u16::MAX);
    if width <= room {
        canvas.put(area.right().saturating_sub(width + 1), area.top(), width, Role::Dim, hint);
    }
}

/// Whether a cell makes sense in a line without headers. A bar or a trend does not.
fn says(cell: &Cell) -> bool {
    cell.role != Role::Trend && !matches!(cell.text.trim(), "" | "–")
}

/// Draws a single line for a pane that does not fit.
pub(super) fn pane(canvas: &mut Canvas<'_>, area: Rect, view: &ListView, focused: bool) {
    let mut cells: Vec<Cell> = vec![
        cell(Role::Key, view.key.as_deref().unwrap_or_default()),
        cell(if focused { Role::TitleFocus } else { Role::Title }, view.title.as_str()),
    ];
    cells.extend(view.notes.iter().cloned());
    if let Some(first) = view.rows.first() {
        cells.push(cell(Role::Dim, "│"));
        cells.push(cell(first.grade.role(), first.grade.glyph().trim()));
        let mut row: Vec<Cell> = first.cells.iter().filter(|c| says(c)).take(5).cloned().collect();
        if let Some(name) = row.first_mut() {
            name.text = text::tail(&name.text, 30);
        }
        cells.extend(row);
    } else if let Some(first) = view.empty.first() {
        cells.push(cell(Role::Dim, "│"));
        cells.push(first.clone());
    }
    canvas.cells(area.left() + 1, area.top(), area.right(), &cells);
}

/// Returns the first key of a finding.
fn first_key(row: &RowView) -> &str {
    let keys = row.cells.last().map_or("", |cell| cell.text.as_str());
    keys.split("  ").next().unwrap_or_default()
}

/// Returns the widths of the keys and ages of findings at the right edge, so that all rows align.
pub(super) fn edge(rows: &[RowView]) -> (u16, u16) {
    let widest = |of: &dyn Fn(&RowView) -> usize| {
        u16::try_from(rows.iter().map(of).max().unwrap_or(0)).unwrap_or(u16::MAX)
    };
    let age = |row: &RowView| row.cells.get(1).map_or(0, |cell| text::width(&cell.text));
    (widest(&|row| text::width(first_key(row))), widest(&age))
}

/// Draws a finding without a frame: its text, the key that helps, and its age. The text wraps within the area.
/// Returns the number of lines used.
pub(super) fn cause(
    canvas: &mut Canvas<'_>,
    area: Rect,
    row: &RowView,
    index: usize,
    (key, age): (u16, u16),
) -> u16 {
    let [title, since, _] = row.cells.as_slice() else { return 1 };
    canvas.put(area.x, area.y, 1, row.grade.role(), row.grade.glyph());
    let keys = first_key(row);
    let room = |with_key: bool| {
        let taken = if with_key && key > 0 { key + 2 } else { 0 };
        area.width.saturating_sub(3 + age + taken)
    };
    // the first finding always shows its key, the others only if the key does not cost lines of text
    let fits = text::wrap(&title.text, usize::from(room(true))).len() <= usize::from(area.height);
    let with_key = !keys.is_empty() && (index == 0 || keys.starts_with('+') || fits);
    let lines = text::wrap(&title.text, usize::from(room(with_key)));
    let shown = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(area.height).max(1);
    for (i, y) in (area.y..area.y + shown).enumerate() {
        let rest = || lines.iter().skip(i).map(|l| l.trim()).collect::<Vec<_>>().join(" ");
        let words = if y + 1 == area.y + shown { rest() } else { lines.get(i).cloned().unwrap_or_default() };
        canvas.put(area.x + 2, y, room(with_key), title.role, &words);
    }
    if let Some((_, lead)) = &row.lead {
        canvas.put(area.x + 2, area.y, room(with_key), lead.role, &lead.text);
    }
    if with_key {
        canvas.put(area.right().saturating_sub(age + 1 + key), area.y, key, Role::Key, keys);
    }
    let wide = u16::try_from(text::width(&since.text)).unwrap_or(age).min(age);
    canvas.put(area.right().saturating_sub(wide), area.y, wide, Role::Dim, &since.text);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_texts_share_what_has_no_room() {
        for (mut widths, over, left) in [
            ([3, 48, 10, 46], 0, [3, 48, 10, 46]),
            ([3, 48, 10, 46], 2, [3, 46, 10, 46]),
            ([3, 48, 10, 46], 44, [3, 25, 10, 25]),
            ([1, 1, 1, 1], 9, [0, 0, 0, 0]),
        ] {
            give_way(&mut widths, over);
            assert_eq!(widths, left);
        }
    }

    #[test]
    fn a_file_is_named_without_its_folders() {
        assert_eq!(
            without_folders("/a/b/config.toml:2: unknown key \"x/y\""),
            "config.toml:2: unknown key \"x/y\""
        );
        assert_eq!(without_folders("failover plan a: no route b/c"), "failover plan a: no route b/c");
    }
}
