//! The commands of an open log.

use super::{Cmd, Command, Context, look};
use Context::Log;

/// The order of the commands in the hint bar of a log, the most used first. The others follow.
pub const ORDER: [Cmd; 15] = [
    Cmd::Follow,
    Cmd::FindText,
    Cmd::FilterLog,
    Cmd::NextError,
    Cmd::NextMatch,
    Cmd::PreviousMatch,
    Cmd::Fields,
    Cmd::Container,
    Cmd::Since,
    Cmd::Timestamps,
    Cmd::Wrap,
    Cmd::Save,
    Cmd::CopyLine,
    Cmd::LogColumns,
    Cmd::DescribePod,
];

/// All of them, except those that a text has as well.
pub(super) const LOGS: &[Command] = &[
    look(Cmd::Follow, "follow", "follow", "follow the end of the log, or stop", &[Log], &["f"], 1),
    look(
        Cmd::FilterLog,
        "filter-log",
        "filter",
        "show only the lines that meet all terms: level>=warn, pod:api-*, container:, ns:, node:, since:15m, field.status>=500, words, \"a text\", /regex/; -term hides, ~term highlights",
        &[Log],
        &["&"],
        2,
    ),
    look(
        Cmd::NextError,
        "next-error",
        "next error",
        "go to the next line of level error or higher",
        &[Log],
        &["e"],
        3,
    ),
    look(
        Cmd::PreviousError,
        "previous-error",
        "previous error",
        "go to the previous line of level error or higher",
        &[Log],
        &["E"],
        0,
    ),
    look(
        Cmd::Fields,
        "fields",
        "fields",
        "show the fields of the line, its pod and its node",
        &[Log],
        &["enter", "J"],
        4,
    ),
    look(
        Cmd::Since,
        "since",
        "since",
        "read the log again: 0 the newest lines, 1 to 6 the lines since 1m, 5m, 15m, 1h, 6h, 24h",
        &[Log],
        &["s"],
        5,
    ),
    look(Cmd::Container, "container", "container", "choose the container", &[Log], &["c"], 6),
    look(
        Cmd::Timestamps,
        "timestamps",
        "times",
        "show the time of each line in local time or UTC, or hide it",
        &[Log],
        &["t"],
        7,
    ),
    look(
        Cmd::LogColumns,
        "log-columns",
        "columns",
        "show the columns that are needed, all (level, namespace, pod, container, node), or only the text",
        &[Log],
        &["v"],
        8,
    ),
    look(Cmd::CopyLine, "copy-line", "copy line", "copy the line to the clipboard", &[Log], &["y"], 0),
    look(Cmd::DescribePod, "describe-pod", "pod", "describe the pod of the line", &[Log], &["d"], 9),
    look(
        Cmd::Trace,
        "trace",
        "trace link",
        "copy the URL of the line's trace, from its field trace_id and trace_url of the config",
        &[Log],
        &["u"],
        0,
    ),
];
