//! The line below the header, if several clusters are open: the other ones in order of trouble, each with its findings,
//! what is late, and as much of its worst finding as there is room for.

use pilothouse_core::domain::link::Link;
use pilothouse_core::facts::world::{Cluster, World};

use super::super::app::Ui;
use super::super::cell::{Cell, cell};
use super::super::pane::clusters::found;
use super::super::pane::sources;
use super::super::rows::clusters::by_trouble;
use super::super::theme::Role;
use super::super::widget::text;

/// A finding is not shown in fewer columns than this.
const LEAST: usize = 12;

/// What is said of one cluster.
struct Entry {
    /// What is shown as long as the cluster has a place in the line.
    head: Vec<Cell>,
    /// The worst finding, or why there is no connection.
    text: Option<Cell>,
}

impl Entry {
    fn of(ui: &Ui, world: &World, cluster: &Cluster) -> Self {
        let now = ui.now_in(world, cluster.id());
        let mut head = vec![cell(ui.tint(world, &cluster.info), cluster.info.name().as_str())];
        if cluster.link != Link::Open {
            // also at an earlier moment, of which no connection is kept
            head.extend(sources::unconnected(cluster, ui.at_in(world, cluster.id(), ui.today())));
            let Link::Failed { why, .. } = &cluster.link else { return Self { head, text: None } };
            if let Some(state) = head.last_mut() {
                state.text.push(':');
            }
            return Self { head, text: Some(cell(Role::Text, why.as_str())) };
        }
        let (found, late) = (found(cluster), sources::worst(cluster, now));
        match (&late, found.role == Role::Ok) {
            (None, true) => head.push(cell(Role::Ok, "ok")),
            // a finding may be missing because the data is late
            (Some(_), true) => {}
            (_, false) => head.push(found),
        }
        head.extend(late);
        if !sources::is_seen(cluster) && head.len() == 2 {
            head.push(cell(Role::Dim, "loading"));
        }
        let text = cluster.derived.causes.first().map(|cause| cell(Role::Text, cause.to_string()));
        Self { head, text }
    }

    fn width(&self) -> usize {
        self.head.iter().map(|cell| text::width(&cell.text) + 1).sum::<usize>().saturating_sub(1)
    }
}

/// Builds the line, which is empty if no other cluster is open.
pub fn line(ui: &Ui, world: &World, width: u16) -> Vec<Cell> {
    let others = by_trouble(world).into_iter().filter(|cluster| cluster.id() != ui.cluster);
    let mut entries: Vec<Entry> = others.map(|cluster| Entry::of(ui, world, cluster)).collect();
    // a space at each edge, and a bar between the clusters
    let room = usize::from(width).saturating_sub(2);
    let taken = |entries: &[Entry]| entries.iter().map(|entry| entry.width() + 3).sum::<usize>();
    let all = entries.len();
    // the number of those without a place takes four cells
    while entries.len() > 1 && taken(&entries) > room + 3 - if entries.len() < all { 7 } else { 0 } {
        entries.pop();
    }
    let hidden = all - entries.len();
    let mut spare = (room + 3).saturating_sub(taken(&entries) + if hidden > 0 { 7 } else { 0 });
    let mut cells = Vec::new();
    for (at, entry) in entries.into_iter().enumerate() {
        if at > 0 {
            cells.push(cell(Role::Border, "│"));
        }
        cells.extend(entry.head);
        if let Some(words) = entry.text.filter(|_| spare > LEAST) {
            let shown = text::head(&words.text, spare - 1);
            spare -= text::width(&shown) + 1;
            cells.push(Cell { text: shown, ..words });
        }
    }
    if hidden > 0 {
        cells.push(cell(Role::Border, "│"));
        cells.push(cell(Role::Warning, format!("+{hidden}")));
    }
    cells
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pilothouse_core::domain::id::ClusterId;
    use pilothouse_core::domain::settings::UiSettings;
    use pilothouse_core::domain::source::{SourceState, SourceStatus};
    use pilothouse_core::domain::time::Stamp;
    use pilothouse_core::facts::table::Coverage;
    use pilothouse_core::facts::world::ClusterInfo;

    use super::*;

    fn cluster(id: u16, link: Link) -> Arc<Cluster> {
        let context = format!("cluster-{id}").as_str().into();
        let info = ClusterInfo { id: ClusterId(id), context, ..ClusterInfo::default() };
        Arc::new(Cluster { info: Arc::new(info), link, ..Cluster::default() })
    }

    fn shown(world: &World, width: u16) -> String {
        let (ui, _) = Ui::new(&UiSettings::default());
        let cells = line(&ui, world, width);
        cells.iter().map(|cell| cell.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_cluster_has_no_line_and_the_worst_of_several_comes_first() {
        let alone =
            World { clusters: [cluster(0, Link::Open), cluster(1, Link::Closed)].into(), ..World::default() };
        assert_eq!(shown(&alone, 80), "");
        let why = "exec plugin aws: the token has expired".into();
        let failed = Link::Failed { since: Stamp(0), why, next: Some(Stamp(100_000)) };
        let clusters =
            [cluster(0, Link::Open), cluster(1, Link::Opening { since: Stamp(0) }), cluster(2, failed)];
        let world = World { clusters: clusters.into(), ..World::default() };
        assert_eq!(
            shown(&world, 120),
            "cluster-2 NOT CONNECTED now, retry in 2m: exec plugin aws: the token has expired │ cluster-1 connecting now"
        );
        assert!(shown(&world, 120).len() <= 120);
    }

    #[test]
    fn a_cluster_whose_data_is_late_is_not_called_ok() {
        let seen = |state: SourceState| {
            let mut cluster = Cluster::clone(&self::cluster(1, Link::Open));
            (cluster.tables.nodes.cover, cluster.tables.pods.cover) =
                (Coverage::Complete, Coverage::Complete);
            cluster.sources = [SourceStatus { name: "pods".into(), state, ..SourceStatus::default() }].into();
            let clusters = [self::cluster(0, Link::Open), Arc::new(cluster)].into();
            shown(&World { clusters, ..World::default() }, 80)
        };
        assert_eq!(seen(SourceState::Live), "cluster-1 ok");
        assert_eq!(seen(SourceState::Stale { since: Stamp(0) }), "cluster-1 pods STALE now");
    }

    #[test]
    fn it_fits_any_width_and_counts_those_without_a_place() {
        let clusters = (0..20).map(|id| cluster(id, Link::Open)).collect();
        let world = World { clusters, ..World::default() };
        for width in [40, 60, 80, 120, 200] {
            let line = shown(&world, width);
            assert!(text::width(&line) <= usize::from(width) - 2, "{width}: {line}");
            let places = line.matches("cluster-").count();
            let rest = if places < 19 { format!("+{}", 19 - places) } else { String::new() };
            assert!(line.ends_with(&rest) && places > 0, "{width}: {line}");
        }
    }
}
