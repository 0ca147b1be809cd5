//! The help text: the keys, in as many columns as fit on the screen. The keys of the current screen come first. Where only
//! one column fits, a list of their names precedes it, so that the first page has all of them.

use super::super::app::{TextLine, Ui};
use super::super::cell::{Cell, cell};
use super::super::command::{COMMANDS, Command, Context, LOG_ORDER, Risk};
use super::super::theme::Role;
use super::super::widget::text;
use super::describe::Lines;

/// The minimum width of a column in cells. The descriptions wrap too often in narrower columns.
const COLUMN: usize = 56;
/// The number of cells between two columns.
const GAP: usize = 3;
/// The number of cells for the keys of a command.
const KEYS: usize = 11;

/// The number of columns of the names, and of cells for the keys of one.
const NAMES: usize = 3;
const NAME_KEYS: usize = 8;

/// A line of a column, with its role and keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Row {
    role: Role,
    text: String,
    keys: usize,
}

/// Writes the whole help text.
pub fn lines(out: &mut Lines, ui: &Ui) {
    if !ui.problems.is_empty() {
        out.head("Problems of the configuration");
        for problem in &ui.problems {
            out.say(Role::Warning, format!("  {problem}"));
        }
        out.say(Role::Text, String::new());
    }
    out.say(
        Role::Strong,
        "CAPITALS change the cluster, and only after a rehearsal; lower-case keys never do.",
    );
    out.say(Role::Dim, "glyphs: ✖ broken   ! needs attention   ~ unusual   – not known   + marked");
    out.say(Role::Text, String::new());
    // the frame and the mark of a match take three cells
    let cells = usize::from(ui.size.0).saturating_sub(3).max(20);
    let columns = ((cells + GAP) / (COLUMN + GAP)).clamp(1, 3);
    let width = (cells + GAP) / columns - GAP;
    if columns == 1 {
        let names = names(ui, (cells + 1) / NAMES - 1);
        out.say(Role::Title, "keys of this screen; what they do is below");
        out.0.extend(beside(&[names], NAMES, (cells + 1) / NAMES - 1, 1));
        out.say(Role::Text, String::new());
    }
    // the most specific context comes first
    let here = ui.contexts_below();
    let rest: Vec<Context> = Context::ALL.into_iter().filter(|c| !here.contains(c)).collect();
    out.0.extend(beside(&blocks(ui, here, "works here", width), columns, width, GAP));
    // a part of its own: if both shared the columns, some keys of this screen would be on a later page
    out.say(Role::Text, String::new());
    out.0.extend(beside(&blocks(ui, &rest, "elsewhere", width), columns, width, GAP));
}

/// Builds one block of lines for each context. `place` precedes its title.
fn blocks(ui: &Ui, contexts: &[Context], place: &str, width: usize) -> Vec<Vec<Row>> {
    let block = |context: &Context| {
        let commands = commands(*context);
        if commands.is_empty() {
            return None;
        }
        let head = Row { role: Role::Title, text: format!("{place}: {}", context.title()), keys: 0 };
        let rows = commands.into_iter().flat_map(|c| entry(ui, c, *context, width));
        Some([head].into_iter().chain(rows).collect())
    };
    contexts.iter().filter_map(block).collect()
}

/// The commands of a context in the order of the line of keys: those that change the cluster come first.
fn commands(context: Context) -> Vec<&'static Command> {
    let mut found: Vec<&Command> =
        COMMANDS.iter().filter(|c| c.contexts.contains(&context) && !c.title.is_empty()).collect();
    let of_log = |c: &Command| {
        let place = LOG_ORDER.iter().position(|listed| *listed == c.cmd);
        if context == Context::Log { place.unwrap_or(LOG_ORDER.len()) } else { 0 }
    };
    found.sort_by_key(|c| (c.risk == Risk::None, of_log(c)));
    found
}

/// Builds the list of names: the keys of the screen below, except those that work everywhere, each with its title.
fn names(ui: &Ui, width: usize) -> Vec<Row> {
    let (mut rows, mut named) = (Vec::new(), Vec::new());
    let here = ui.contexts_below().iter().filter(|context| **context != Context::Everywhere);
    for command in here.flat_map(|context| commands(*context)) {
        let keys: Vec<String> =
            ui.keymap.keys_in(ui.contexts_below(), command.cmd).map(|key| key.to_string()).collect();
        let Some(first) = keys.first().filter(|_| !named.contains(&command.cmd)) else { continue };
        named.push(command.cmd);
        let all = Some(keys.join(" ")).filter(|all| text::width(all) < NAME_KEYS);
        let keys = all.unwrap_or_else(|| first.clone());
        let words = format!(" {keys:<NAME_KEYS$}{}", command.title);
        rows.push(Row { role: Role::Text, text: text::head(&words, width), keys: text::width(&keys) + 1 });
    }
    rows
}

/// Builds the rows of a command: its keys in this place, its id and its description, with continuation lines below the
/// description.
fn entry(ui: &Ui, command: &Command, context: Context, width: usize) -> Vec<Row> {
    let keys: Vec<String> = ui.keymap.keys_in(&[context], command.cmd).map(|key| key.to_string()).collect();
    let keys = if keys.is_empty() { "–".to_owned() } else { keys.join(" ") };
    let words = format!("{}: {}", command.title, command.doc);
    let lead = KEYS + 1;
    let parts = text::wrap(&words, width.saturating_sub(lead).max(12));
    let mut rows = Vec::new();
    // long keys are on a line of their own
    let wide = text::width(&keys) >= KEYS;
    if wide {
        rows.push(Row { role: Role::Text, text: format!(" {keys}"), keys: text::width(&keys) + 1 });
    }
    for (i, part) in parts.iter().enumerate() {
        let first = i == 0 && !wide;
        let lead = if first { keys.as_str() } else { "" };
        rows.push(Row {
            role: Role::Text,
            text: format!(" {lead:<KEYS$}{part}"),
            keys: if first { text::width(&keys) + 1 } else { 0 },
        });
    }
    rows
}

/// Arranges the blocks in columns of about the same height, from the top of the first column to the bottom of the
/// last. No block begins on the last line of a column.
fn beside(blocks: &[Vec<Row>], columns: usize, width: usize, gap: usize) -> Vec<TextLine> {
    let total: usize = blocks.iter().map(|b| b.len() + 1).sum();
    let high = total.div_ceil(columns);
    let mut places: Vec<Vec<Row>> = vec![Vec::new()];
    for block in blocks {
        for (i, row) in block.iter().enumerate() {
            let filled = places.last().map_or(0, Vec::len);
            // a heading stays together with its first two rows
            let needed = if i == 0 { 3.min(block.len()) } else { 1 };
            if filled + needed > high && places.len() < columns {
                places.push(Vec::new());
            }
            if let Some(place) = places.last_mut() {
                place.push(row.clone());
            }
        }
        if let Some(place) = places.last_mut().filter(|p| p.len() < high) {
            place.push(Row::default());
        }
    }
    let rows = places.iter().map(Vec::len).max().unwrap_or(0);
    let line = |y: usize| {
        let mut line = TextLine { whole: true, ..TextLine::default() };
        for (i, row) in places.iter().enumerate().filter_map(|(i, p)| Some((i, p.get(y)?))) {
            let x = i * (width + gap);
            let pad = x.saturating_sub(text::width(&line.text));
            line.text.push_str(&" ".repeat(pad));
            line.text.push_str(&row.text);
            line.marks.extend(mark(row, x));
        }
        line
    };
    (0..rows).map(line).collect()
}

/// Returns the part of a row that is not plain text: a heading or keys.
fn mark(row: &Row, x: usize) -> Option<(u16, Cell)> {
    let (role, words) = match row {
        Row { role: Role::Title, text, .. } => (Role::Title, text.as_str()),
        Row { keys: 0, .. } => return None,
        Row { text, keys, .. } => (Role::Key, text.get(..*keys).unwrap_or_default()),
    };
    Some((u16::try_from(x).unwrap_or(u16::MAX), cell(role, words)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(name: &str, rows: usize) -> Vec<Row> {
        let row = |i| Row { text: format!("{name}{i}"), ..Row::default() };
        [Row { role: Role::Title, text: name.into(), keys: 0 }]
            .into_iter()
            .chain((0..rows).map(row))
            .collect()
    }

    #[test]
    fn columns_are_filled_one_after_the_other() {
        let blocks = [block("a", 6), block("b", 3), block("c", 3)];
        let texts = |columns| -> Vec<String> {
            beside(&blocks, columns, 6, GAP).into_iter().map(|l| l.text.trim_end().to_owned()).collect()
        };
        assert_eq!(texts(1).len(), 18);
        let two = texts(2);
        assert_eq!(two.first().unwrap(), "a        b", "{two:?}");
        assert!(two.len() <= 9, "{two:?}");
        for columns in 1..4 {
            let all = texts(columns).join(" ");
            for word in ["a5", "b2", "c2"] {
                assert!(all.contains(word), "{columns}: {all}");
            }
        }
    }
}
