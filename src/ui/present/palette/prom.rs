//! The line `prom EXPR`, which plots a query: the query as it is typed, and the names of metrics that complete its last
//! word.

use super::super::super::app::{Hit, Target, Ui};

/// The word that begins the line.
const WORD: &str = "prom";
/// The most names that are offered.
const MOST: usize = 12;
/// The least length of a word that is completed.
const LEAST: usize = 2;

/// Returns the query of a line, if it is one.
pub fn query(typed: &str) -> Option<&str> {
    let rest = typed.trim_start().strip_prefix(WORD)?;
    let is_whole = rest.is_empty() || rest.starts_with(char::is_whitespace);
    is_whole.then(|| rest.trim_start())
}

/// Returns the hits for a query.
pub(super) fn hits(ui: &Ui, query: &str) -> Vec<Hit> {
    let mut hits = Vec::new();
    if query.trim().is_empty() {
        hits.push(Hit {
            target: Target::Complete(format!("{WORD} ")),
            kind: "plot".into(),
            title: format!("{WORD} EXPR"),
            detail: "plot the result of a PromQL query".into(),
        });
        return hits;
    }
    hits.push(Hit {
        target: Target::Query(query.trim().to_owned()),
        kind: "plot".into(),
        title: query.trim().to_owned(),
        detail: "plot this query".into(),
    });
    let (before, word) = last_word(query);
    let names = ui.metrics.names.iter().flatten();
    let fits = |name: &&String| word.len() >= LEAST && name.contains(word) && name.as_str() != word;
    let mut found: Vec<&String> = names.filter(fits).collect();
    found.sort_by_key(|name| (!name.starts_with(word), name.len(), *name));
    hits.extend(found.into_iter().take(MOST).map(|name| Hit {
        target: Target::Complete(format!("{WORD} {before}{name}")),
        kind: "metric".into(),
        title: name.clone(),
        detail: "complete the name".into(),
    }));
    if let Some(why) = &ui.metrics.failed {
        hits.push(Hit {
            target: Target::Query(query.trim().to_owned()),
            kind: "note".into(),
            title: "no names of metrics".into(),
            detail: why.clone(),
        });
    }
    hits
}

/// Splits a query before the name that is typed at its end.
fn last_word(query: &str) -> (&str, &str) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let at =
        query.char_indices().rev().take_while(|(_, c)| is_part(*c)).last().map_or(query.len(), |(at, _)| at);
    query.split_at_checked(at).unwrap_or((query, ""))
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::settings::UiSettings;

    use super::*;

    #[test]
    fn the_line_is_a_query_with_its_capitals() {
        for (typed, found) in [
            ("prom up", Some("up")),
            ("prom  sum(Up)", Some("sum(Up)")),
            ("prom", Some("")),
            ("prometheus", None),
            ("pods", None),
        ] {
            assert_eq!(query(typed), found, "{typed}");
        }
    }

    #[test]
    fn the_last_word_is_completed_and_the_rest_stays() {
        let mut ui = Ui::new(&UiSettings::default()).0;
        ui.metrics.names =
            Some(["node_load1", "up", "http_requests_total", "my_http"].map(str::to_owned).to_vec());
        let found: Vec<Target> = hits(&ui, "sum(rate(http").into_iter().map(|hit| hit.target).collect();
        assert_eq!(
            found,
            [
                Target::Query("sum(rate(http".into()),
                Target::Complete("prom sum(rate(http_requests_total".into()),
                Target::Complete("prom sum(rate(my_http".into()),
            ]
        );
        assert_eq!(hits(&ui, "up").len(), 1, "it is whole");
        assert_eq!(hits(&ui, "")[0].target, Target::Complete("prom ".into()));
    }
}
