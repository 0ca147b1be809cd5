//! What all lists share: bringing their rows up to date, their identities, and the view of the rows that fit.

use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::facts::world::{Cluster, World};
use pilothouse_core::policy::rules::dead_nodes;

use super::super::app::{PodScope, Ui};
use super::super::command;
use super::super::list::{ListId, Spec};
use super::super::request::TableLine;
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::super::widget::text::grouped;
use super::orders::{self, turned};
use super::{
    Grade, ListView, RowView, actions, autoscalers, backends, causes, cell, changes, errors, frame,
    namespaces, nodes, plain, pods, targets, traffic, workloads,
};

/// The identity of row `row` of a list.
pub fn key(ui: &Ui, world: &World, id: ListId, row: u32) -> Option<Uid> {
    let cluster = ui.shown(world)?;
    let at = row as usize;
    match id {
        ListId::Now if row & causes::FOLDED != 0 => {
            cluster.derived.causes.get((row & !causes::FOLDED) as usize).map(|c| causes::fold_key(c))
        }
        ListId::Now => cluster.derived.causes.get(at).map(|c| causes::key(c)),
        ListId::Nodes => cluster.derived.nodes.at(row).map(|r| r.node.uid.clone()),
        ListId::Traffic => ui.bases.joined.get(at).map(traffic::Joined::key),
        ListId::Errors => cluster.logs.groups.get(at).map(|g| errors::key(g)),
        ListId::Autoscalers => cluster.derived.hpas.at(row).map(|row| row.hpa.uid.clone()),
        ListId::Workloads => cluster.derived.workloads.at(row).map(|r| r.workload.uid.clone()),
        ListId::Pods => cluster.pods.at(row).map(|p| p.uid.clone()),
        ListId::Backends => ui.bases.backends.get(at).map(backends::Backend::key),
        ListId::Actions => world.actions.get(at).map(|a| actions::key(a)),
        ListId::Changes => ui.bases.changes.list.get(at).map(changes::Entry::key),
        ListId::Namespaces => ui.bases.namespaces.get(at).map(|place| Uid::Text(place.name.clone())),
        ListId::Table => {
            ui.table.rows.get(at).map(|r| Uid::Text(Name::from(format!("{}/{}", r.namespace, r.name))))
        }
    }
}

/// Brings a list's rows and selection up to date with the World.
pub fn refresh(ui: &mut Ui, world: &World, id: ListId, focused: bool) {
    let Some(cluster) = ui.shown(world).cloned() else { return };
    let mut list = ui.take_list(id);
    let mut spec = Spec {
        filter: list.filter.clone(),
        order: list.order,
        reverse: list.reverse,
        namespace: ui.namespace.clone(),
        ..Spec::default()
    };
    let now = ui.now;
    let reverse = spec.reverse;
    let ids = &mut list.sorted;
    match id {
        ListId::Nodes => {
            let order = spec.order;
            ui.bases.nodes.refresh(
                ids,
                &cluster.derived.nodes,
                &spec,
                |r| nodes::passes(r, &spec, || texts(nodes::row(r, &cluster.pods.cover, now))),
                |a, b| turned(nodes::order(a, b, order), reverse),
            );
        }
        ListId::Workloads => {
            let order = spec.order;
            let told = workloads::told(&cluster);
            if ui.bases.told != told {
                ui.bases.told = told;
                ui.bases.told_turn = ui.bases.told_turn.wrapping_add(1);
            }
            spec.salt = ui.bases.told_turn;
            let told = &ui.bases.told;
            ui.bases.workloads.refresh(
                ids,
                &cluster.derived.workloads,
                &spec,
                |r| workloads::passes(r, &spec, || texts(workloads::row(r, told, now))),
                |a, b| turned(workloads::order(a, b, order, told), reverse),
            );
        }
        ListId::Pods => {
            let order = spec.order;
            let scope = ui.pod_scope.clone();
            spec.scope = format!("{scope:?}");
            if matches!(scope, PodScope::Owner { .. }) {
                // whose a pod is may be known later than the pod
                spec.salt = cluster.derived.replicaset_owner.len() as u64;
            }
            let dead = dead_nodes(&cluster);
            if ui.bases.dead != dead {
                ui.bases.dead = dead;
                ui.bases.dead_turn = ui.bases.dead_turn.wrapping_add(1);
            }
            // the other orders ask nothing of the nodes, and 150,000 rows are not sorted anew for them
            if order == 0 {
                spec.salt |= u64::from(ui.bases.dead_turn) << 32;
                // a pod that does not get ready is bad after a while
                spec.salt ^= u64::try_from(now.0 / 60_000).unwrap_or(0) << 40;
            }
            if order >= pods::BESIDE {
                // the same pods stand otherwise when they were measured again
                spec.salt ^= std::sync::Arc::as_ptr(&cluster.pod_usage) as u64;
            }
            let dead = &ui.bases.dead;
            let numeric = spec.filter.is_numeric();
            ui.bases.pods.refresh(
                ids,
                &cluster.pods,
                &spec,
                |p| {
                    pods::passes(p, &spec, &scope, &cluster, || {
                        if numeric { texts(pods::row(p, &cluster, dead, now)) } else { Vec::new() }
                    })
                },
                |a, b| {
                    let by = if order < pods::BESIDE {
                        pods::order(a, b, order, dead, now)
                    } else {
                        pods::order_beside(a, b, order, &cluster)
                    };
                    turned(by, reverse)
                },
            );
        }
        ListId::Autoscalers => {
            let order = spec.order;
            ui.bases.hpas.refresh(
                ids,
                &cluster.derived.hpas,
                &spec,
                |h| autoscalers::passes(h, &spec, || texts(autoscalers::row(h, now, true))),
                |a, b| turned(autoscalers::order(a, b, order), reverse),
            );
        }
        ListId::Traffic => {
            traffic::join(&mut ui.bases, &cluster);
            let joined = &ui.bases.joined;
            *ids = indexes(joined, |j| traffic::passes(j, &spec, || texts(traffic::row(j, true, now))));
            ids.sort_by(|a, b| {
                turned(by_index(joined, *a, *b, |a, b| traffic::order(a, b, spec.order)), reverse)
            });
        }
        ListId::Errors => {
            let groups = &cluster.logs.groups;
            *ids = indexes(groups, |g| errors::passes(g, &spec, || texts(errors::row(g, &cluster, now))));
            ids.sort_by(|a, b| {
                turned(by_index(groups, *a, *b, |a, b| errors::order(a, b, spec.order, now)), reverse)
            });
        }
        ListId::Now => {
            let found = &cluster.derived.causes;
            *ids = indexes(found, |c| causes::passes(c, &spec));
            causes::settle(found, ids, &mut list.selected, ui.folds_now());
        }
        ListId::Actions => {
            *ids = indexes(&world.actions, |a| actions::passes(a, &cluster, ui.all_actions, &spec));
        }
        ListId::Changes => {
            ui.bases.changes.refresh(world, &cluster);
            *ids = indexes(&ui.bases.changes.list, |c| c.passes(&spec));
        }
        ListId::Backends => {
            backends::refresh(&mut ui.bases, &cluster, &ui.service);
            let found = &ui.bases.backends;
            *ids = indexes(found, |b| backends::passes(b, &spec, || texts(backends::row(b))));
            ids.sort_by(|a, b| {
                turned(by_index(found, *a, *b, |a, b| backends::order(a, b, spec.order)), reverse)
            });
        }
        ListId::Namespaces => {
            ui.bases.namespaces = namespaces::places(&cluster);
            *ids = indexes(&ui.bases.namespaces, |place| spec.filter.passes(&[place.title()]));
        }
        ListId::Table => {
            *ids = indexes(&ui.table.rows, |r| {
                spec.filter
                    .passes(&r.cells.iter().map(String::as_str).chain([r.name.as_str()]).collect::<Vec<_>>())
            });
            if let Some(column) = spec.order.checked_sub(1) {
                let cell = |r: &TableLine| r.cells.get(column).cloned().unwrap_or_default();
                let order = |a: &TableLine, b: &TableLine| orders::printed(&cell(a), &cell(b));
                ids.sort_by(|a, b| turned(by_index(&ui.table.rows, *a, *b, order), reverse));
            } else if reverse {
                ids.reverse();
            }
        }
    }
    list.ids = match id {
        // these have an order that says something by itself
        ListId::Now | ListId::Actions | ListId::Namespaces | ListId::Table => list.sorted.clone(),
        _ => {
            let row = |row| Some((key(ui, world, id, row)?, grade(ui, &cluster, id, row)? as u8));
            list.held.place(&list.sorted, &spec, ui.clock_ms, row)
        }
    };
    // before the first key nobody has read a row to act on: the worst one is selected, also when it comes later
    let lost = list.settle(focused && ui.touched, |row| key(ui, world, id, row));
    ui.put_list(id, list);
    if lost.is_some() && focused {
        ui.say("the selected row is gone; the selection moved to its neighbour");
    }
}

/// How bad a row is.
fn grade(ui: &Ui, cluster: &Cluster, id: ListId, row: u32) -> Option<Grade> {
    let (at, now) = (row as usize, ui.now);
    Some(match id {
        ListId::Nodes => nodes::grade(cluster.derived.nodes.at(row)?),
        ListId::Traffic => ui.bases.joined.get(at)?.grade(),
        ListId::Errors => errors::grade(cluster.logs.groups.get(at)?, now),
        ListId::Autoscalers => autoscalers::grade_of(cluster.derived.hpas.at(row)?.verdict.state),
        ListId::Workloads => workloads::grade(cluster.derived.workloads.at(row)?, &ui.bases.told),
        ListId::Pods => pods::grade(cluster.pods.at(row)?, &ui.bases.dead, now),
        ListId::Backends => ui.bases.backends.get(at)?.grade(),
        ListId::Changes => ui.bases.changes.list.get(at)?.grade(),
        ListId::Now | ListId::Actions | ListId::Namespaces | ListId::Table => return None,
    })
}

/// What stands in a row's columns.
fn texts(row: RowView) -> Vec<String> {
    row.cells.into_iter().map(|cell| cell.text).collect()
}

fn indexes<T>(rows: &[T], passes: impl Fn(&T) -> bool) -> Vec<u32> {
    (0u32..).zip(rows).filter(|(_, row)| passes(row)).map(|(i, _)| i).collect()
}

fn by_index<T>(
    rows: &[T],
    a: u32,
    b: u32,
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
) -> std::cmp::Ordering {
    match (rows.get(a as usize), rows.get(b as usize)) {
        (Some(a), Some(b)) => order(a, b),
        _ => std::cmp::Ordering::Equal,
    }
}

/// The object that a row is about.
pub fn object(ui: &Ui, world: &World, id: ListId, uid: &Uid) -> Option<ObjectRef> {
    let cluster = ui.shown(world)?;
    match id {
        ListId::Now => {
            cluster.derived.causes.iter().find(|c| causes::key(c) == *uid)?.objects.first().cloned()
        }
        ListId::Nodes => cluster.derived.nodes.by_uid(uid).map(|r| nodes::object(r)),
        ListId::Traffic => ui.bases.joined.iter().find(|j| j.key() == *uid).map(traffic::Joined::object),
        ListId::Errors => {
            let group = cluster.logs.groups.iter().find(|g| errors::key(g) == *uid)?;
            errors::workload(cluster, group.workloads.first()?)
        }
        ListId::Autoscalers => cluster.hpas.by_uid(uid).map(|h| autoscalers::object(h)),
        ListId::Workloads => cluster.derived.workloads.by_uid(uid).map(|r| r.workload.reference()),
        ListId::Pods => cluster.pods.by_uid(uid).map(|p| pods::object(p)),
        ListId::Backends => ui.bases.backends.iter().find(|b| b.key() == *uid)?.object(&ui.service.0),
        ListId::Table => {
            let row = ui
                .table
                .rows
                .iter()
                .find(|r| *uid == Uid::Text(Name::from(format!("{}/{}", r.namespace, r.name))))?;
            (!row.kind.is_empty())
                .then(|| ObjectRef::new(Kind::parse(&row.kind), &row.namespace, &row.name, &Uid::default()))
        }
        ListId::Changes => ui.bases.changes.list.iter().find(|c| c.key() == *uid)?.object.clone(),
        ListId::Actions | ListId::Namespaces => None,
    }
}

/// The columns of a list.
pub fn columns(ui: &Ui, id: ListId) -> Vec<Column> {
    let fixed: &[Column] = match id {
        ListId::Now => &causes::COLUMNS,
        ListId::Nodes => &nodes::COLUMNS,
        ListId::Traffic => &traffic::COLUMNS,
        ListId::Errors => &errors::COLUMNS,
        ListId::Autoscalers => &autoscalers::COLUMNS,
        ListId::Workloads => &workloads::COLUMNS,
        ListId::Pods => &pods::COLUMNS,
        ListId::Backends => &backends::COLUMNS,
        ListId::Actions => return actions::columns(ui.all_actions),
        ListId::Changes => &changes::COLUMNS,
        ListId::Namespaces => &namespaces::COLUMNS,
        ListId::Table => {
            return (0u8..)
                .zip(&ui.table.columns)
                .map(
                    |(i, _)| {
                        if i == 0 { Column::name("", 10, 60) } else { Column::left("", 4, 40, i.min(200)) }
                    },
                )
                .collect();
        }
    };
    let mut columns = fixed.to_vec();
    if id == ListId::Pods
        && matches!(ui.pod_scope, PodScope::Owner { .. })
        && let Some(namespace) = columns.first_mut()
    {
        // the title names it already
        namespace.leave = u8::MAX;
    }
    columns
}

fn row(ui: &Ui, world: &World, cluster: &Cluster, id: ListId, row: u32) -> Option<RowView> {
    let at = row as usize;
    let now = ui.now;
    let several = ui.namespace.is_none();
    Some(match id {
        ListId::Now if row & causes::FOLDED != 0 => {
            let all = &cluster.derived.causes;
            causes::folded_row(all, all.get((row & !causes::FOLDED) as usize)?, &ui.keymap, now)
        }
        ListId::Now => {
            let cause = cluster.derived.causes.get(at)?;
            let mut view = causes::row(cause, &ui.keymap, now, ui.size.0 < 110);
            let command = cause.action.as_ref().and_then(|a| command::of(a.command().into()));
            if let (Some(command), Some(keys)) = (command, view.cells.last_mut())
                && !targets::permitted(ui, world, command.cmd)
            {
                keys.role = Role::Dim;
            }
            view
        }
        ListId::Nodes => nodes::row(cluster.derived.nodes.at(row)?, &cluster.pods.cover, now),
        ListId::Traffic => traffic::row(ui.bases.joined.get(at)?, several, now),
        ListId::Errors => errors::row(cluster.logs.groups.get(at)?, cluster, now),
        ListId::Autoscalers => autoscalers::row(cluster.derived.hpas.at(row)?, now, several),
        ListId::Workloads => workloads::row(cluster.derived.workloads.at(row)?, &ui.bases.told, now),
        ListId::Pods => pods::row(cluster.pods.at(row)?, cluster, &ui.bases.dead, now),
        ListId::Backends => backends::row(ui.bases.backends.get(at)?),
        ListId::Actions => actions::row(world.actions.get(at)?, ui.all_actions, now),
        ListId::Changes => ui.bases.changes.list.get(at)?.row(now),
        ListId::Namespaces => namespaces::row(cluster, ui.bases.namespaces.get(at)?, ui.namespace.as_ref()),
        ListId::Table => RowView {
            cells: ui.table.rows.get(at)?.cells.iter().map(|c| plain(c.as_str())).collect(),
            ..RowView::default()
        },
    })
}

/// The columns of a list and its first rows, to see what room they want. Call [`refresh`] before.
pub fn first_rows(ui: &Ui, world: &World, id: ListId, most: usize) -> (Vec<Column>, Vec<RowView>) {
    let Some(cluster) = ui.shown(world) else { return (Vec::new(), Vec::new()) };
    let ids = ui.list(id).ids.iter().take(most);
    (columns(ui, id), ids.filter_map(|r| row(ui, world, cluster, id, *r)).collect())
}

/// The list as it stands on the screen, with at most `room` rows. Call [`refresh`] before.
pub fn view(ui: &mut Ui, world: &World, id: ListId, room: usize, focused: bool) -> ListView {
    let Some(cluster) = ui.shown(world).cloned() else {
        return ListView { title: "no cluster".into(), ..ListView::default() };
    };
    ui.list_mut(id).scroll(room);
    let list = ui.list(id);
    let (key_char, title, mut notes, state, footer) = frame::of(ui, &cluster, id);
    if id == ListId::Actions {
        notes.extend(actions::counts(world, &cluster, ui.all_actions, &ui.keymap));
    }
    if !list.filter.is_empty() {
        notes.push(cell(Role::Match, format!("/{}", list.filter)));
        notes.push(plain(format!("{} match", grouped(list.ids.len() as u64))));
    } else if focused && !list.ids.is_empty() && list.ids.len() > room {
        notes.push(cell(Role::Dim, format!("row {}", grouped(list.at as u64 + 1))));
    }
    if !list.marks.is_empty() {
        notes.push(cell(Role::Marked, format!("{} marked", list.marks.len())));
    }
    notes.extend(orders::note(ui, id));
    notes.extend(state.notes);
    if matches!(id, ListId::Traffic | ListId::Autoscalers | ListId::Workloads | ListId::Errors | ListId::Now)
        || (id == ListId::Pods && ui.pod_scope == PodScope::All)
    {
        notes.extend(ui.namespace.as_ref().map(|ns| cell(Role::Info, format!("ns:{ns}"))));
    }
    let visible: Vec<u32> = list.ids.iter().skip(list.top).take(room).copied().collect();
    let rows = visible
        .iter()
        .filter_map(|r| {
            let mut view = row(ui, world, &cluster, id, *r)?;
            view.marked =
                !list.marks.is_empty() && key(ui, world, id, *r).is_some_and(|uid| list.marks.contains(&uid));
            Some(view)
        })
        .collect();
    let empty = if !list.ids.is_empty() {
        Vec::new()
    } else if !list.filter.is_empty() {
        vec![cell(Role::Dim, format!("nothing matches {}; Esc shows all", list.filter))]
    } else if !state.why_empty.is_empty() {
        state.why_empty
    } else if let Some(why) = frame::not_read(ui, &cluster, id) {
        vec![cell(Role::Denied, why)]
    } else {
        let place = ui.namespace.as_ref().map_or_else(String::new, |ns| format!(" in namespace {ns}"));
        vec![cell(Role::Dim, format!("{}{place}", frame::nothing(id)))]
    };
    let columns = columns(ui, id);
    let heads: Vec<&str> = columns.iter().map(|c| c.head).collect();
    ListView {
        id: Some(id),
        key: key_char,
        title,
        notes,
        ordered: orders::mark(ui, id, &heads),
        columns,
        heads: if id == ListId::Table { ui.table.columns.clone() } else { Vec::new() },
        rows,
        selected: (!list.ids.is_empty()).then(|| list.at.saturating_sub(list.top)),
        focused,
        footer,
        empty,
        above: list.top,
        total: list.ids.len(),
        whole: false,
    }
}
