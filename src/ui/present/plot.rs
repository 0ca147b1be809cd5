//! The view model of plots: for each panel its axes with their labels, the points of its lines, the marks, the crosshair,
//! and a legend with numbers. Nothing is drawn here.

mod axis;
mod halves;
mod legend;
mod place;

use pilothouse_core::domain::id::ClusterId;
use pilothouse_core::domain::range::{Ranged, Series, Span};
use pilothouse_core::domain::source::SourceState;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{Cluster, World};
use pilothouse_core::policy::links;
use pilothouse_core::policy::plots::{self, Line, Mark, Panel, Part, Subject, Unit, own};

use super::super::app::{Answer, Curve, Grid, Plots};
use super::super::cell::{Cell, cell};
use super::super::theme::Role;
pub use axis::{number, times, top};
use halves::Half;
pub use halves::last_rollout;
use legend::legend;
pub use legend::mark_role;
pub use place::{area, beside, grid, has_place, is_beside, shown};

/// A bound this many times higher than the highest measured number is not drawn, so that the numbers stay readable.
const FAR: f64 = 3.0;
/// The marks of the lines, in the order of a panel's measured lines. Bounds have their own.
const GLYPHS: [&str; 6] = ["*", "+", "o", "x", "#", "%"];

/// The screen with plots.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlotsView {
    pub title: String,
    pub notes: Vec<Cell>,
    pub grid: Grid,
    /// The panels on the screen.
    pub panels: Vec<PanelView>,
}

/// One panel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PanelView {
    pub title: String,
    pub notes: Vec<Cell>,
    pub from: Stamp,
    pub to: Stamp,
    /// The numbers at the lower and at the upper edge.
    pub low: f64,
    pub high: f64,
    /// The labels of the vertical axis, from the lower edge up.
    pub ticks: Vec<(f64, String)>,
    /// The labels of the horizontal axis.
    pub times: Vec<(Stamp, String)>,
    pub series: Vec<SeriesView>,
    pub marks: Vec<Mark>,
    pub cross: Option<Stamp>,
    /// The lines below the plot.
    pub legend: Vec<Vec<Cell>>,
    /// What is said instead of a plot.
    pub empty: Vec<Cell>,
}

/// One line of a panel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesView {
    /// The mark of the line, in the legend and at the right edge.
    pub glyph: &'static str,
    pub name: String,
    pub role: Role,
    /// Whether it is a bound, which is drawn as a broken line.
    pub is_bound: bool,
    /// Whether it is above the upper edge, and not drawn.
    pub is_beyond: bool,
    pub span: Span,
    pub values: Vec<Option<f64>>,
}

impl SeriesView {
    /// Returns the points with a number, in runs without a gap.
    pub fn runs(&self) -> Vec<Vec<(Stamp, f64)>> {
        let mut runs: Vec<Vec<(Stamp, f64)>> = Vec::new();
        let mut is_open = false;
        for (index, value) in self.values.iter().enumerate() {
            match (value, is_open) {
                (Some(value), true) => {
                    if let Some(run) = runs.last_mut() {
                        run.push((self.span.at(index), *value));
                    }
                }
                (Some(value), false) => runs.push(vec![(self.span.at(index), *value)]),
                (None, _) => {}
            }
            is_open = value.is_some();
        }
        runs
    }

    fn at(&self, at: Stamp) -> Option<f64> {
        self.values.get(self.span.index(at)?).copied().flatten()
    }
}

/// Returns why no Prometheus can be asked, or `None` if it is worth a try.
pub fn without(world: &World, cluster: ClusterId) -> Option<String> {
    let source = world.cluster(cluster)?.source("prometheus")?;
    let is_off = matches!(source.state, SourceState::Off | SourceState::NotInstalled);
    is_off.then(|| source.error.as_ref().map_or_else(|| "no Prometheus".into(), ToString::to_string))
}

/// Returns the queries of the first panel on the screen.
pub fn queries(plots: &Plots) -> Option<String> {
    let panel = plots.panels.get(plots.first)?;
    let queries: Vec<&str> =
        panel.lines.iter().map(|line| line.promql.as_str()).filter(|q| !q.is_empty()).collect();
    (!queries.is_empty()).then(|| queries.join("\n"))
}

/// Returns what happened to the object of the plots in their span.
fn marks(plots: &Plots, world: &World, span: Span, now: Stamp) -> Vec<Mark> {
    let found = plots.object().zip(world.cluster(plots.cluster));
    found.map_or_else(Vec::new, |(object, cluster)| plots::marks(world, cluster, object, span.from, now))
}

/// Builds the view of the plots in a grid.
pub fn view(plots: &Plots, world: &World, now: Stamp, grid: Grid) -> PlotsView {
    let span = shown(plots, now);
    let cluster = world.cluster(plots.cluster).map(|cluster| &**cluster);
    let marks = marks(plots, world, span, now);
    let title = match &plots.subject {
        Subject::Query(_) => "Query".to_owned(),
        Subject::Object { object, container } => {
            let container = container.as_ref().map_or_else(String::new, |name| format!(", container {name}"));
            format!("Plots of {object}{container}")
        }
    };
    let rollout = last_rollout(plots, world, now).filter(|_| plots.is_split);
    let (page, grid) = match rollout {
        Some(_) => (usize::from(grid.rows), grid.halved()),
        None => (grid.page(), grid),
    };
    let known = plots.panels.iter().zip(&plots.curves).skip(plots.first).take(page);
    let panels: Vec<PanelView> = known
        .flat_map(|(panel, curves)| {
            let whole = Half::Whole;
            let parts = rollout.map_or_else(|| vec![whole], |at| halves::of(at, span).to_vec());
            let build = |part| self::panel(plots, cluster, (panel, curves), &marks, (span, part), grid);
            parts.into_iter().map(build).collect::<Vec<_>>()
        })
        .collect();
    let mut notes = vec![
        cell(Role::Strong, plots.range().0),
        cell(Role::Dim, format!("{} to {} UTC", span.from.clock(), span.to().clock())),
    ];
    if plots.panels.len() > page {
        let last = (plots.first + page).min(plots.panels.len());
        notes.push(cell(Role::Info, format!("{} of {}", places(plots.first + 1, last), plots.panels.len())));
    }
    PlotsView { title, notes, grid, panels }
}

/// Whether a measured line of the plots has more than one number, so that there is something to see.
pub fn has_numbers(plots: &Plots, world: &World, now: Stamp, grid: Grid) -> bool {
    let is_drawn = |one: &SeriesView| !one.is_bound && one.values.iter().flatten().nth(1).is_some();
    view(plots, world, now, grid).panels.iter().any(|panel| panel.series.iter().any(is_drawn))
}

fn places(first: usize, last: usize) -> String {
    if first == last { format!("panel {first}") } else { format!("panels {first}-{last}") }
}

/// What is known of the lines of a panel.
#[derive(Default)]
struct Known {
    series: Vec<SeriesView>,
    /// The last poll is the console's own.
    is_own: bool,
    is_waiting: bool,
    failed: Option<String>,
    left_out: usize,
    warnings: Vec<String>,
}

fn panel(
    plots: &Plots,
    cluster: Option<&Cluster>,
    (panel, curves): (&Panel, &[Curve]),
    marks: &[Mark],
    (span, part): (Span, Half),
    grid: Grid,
) -> PanelView {
    let mut known = Known::default();
    for (line, curve) in panel.lines.iter().zip(curves) {
        add(&mut known, plots, cluster, panel, (line, curve), span);
    }
    let has_numbers = known.series.iter().any(|one| !one.is_bound);
    let mut view = PanelView {
        title: panel.title.clone(),
        from: span.from,
        to: span.to(),
        cross: plots.cross.filter(|at| (span.from..=span.to()).contains(at)),
        marks: marks.iter().filter(|mark| mark.at <= span.to()).cloned().collect(),
        ..PanelView::default()
    };
    if !has_numbers {
        view.empty = empty(panel, &known);
        return view;
    }
    // both halves have the scale of the whole
    scale(&mut view, &mut known.series, panel.unit);
    part.narrow(&mut view, &mut known.series);
    view.times = times(view.from, view.to, usize::from(grid.cells()));
    view.legend = legend(&view, &known, panel.unit, grid);
    view.series = known.series;
    view
}

/// Adds what is known of a line.
fn add(
    known: &mut Known,
    plots: &Plots,
    cluster: Option<&Cluster>,
    panel: &Panel,
    (line, curve): (&Line, &Curve),
    span: Span,
) {
    let scale = if line.scale == 0.0 { 1.0 } else { line.scale };
    let before = known.series.len();
    match &curve.answer {
        Answer::Nothing | Answer::Asked(_) if !line.promql.is_empty() => known.is_waiting = true,
        Answer::Ready(ranged) => {
            known.left_out += ranged.left_out;
            for warning in &ranged.warnings {
                if !known.warnings.contains(warning) {
                    known.warnings.push(warning.clone());
                }
            }
            push(known, line, ranged, scale);
        }
        Answer::Failed(why) => {
            known.failed.get_or_insert_with(|| why.clone());
        }
        Answer::Nothing | Answer::Asked(_) => {}
    }
    if known.series.len() > before {
        return;
    }
    let is_settled = matches!(curve.answer, Answer::Ready(_) | Answer::Failed(_)) || line.promql.is_empty();
    // until the Prometheus answers, or if it does not have it: the console's own past, or the number now
    let object = match &plots.subject {
        Subject::Object { object, .. } => Some(object),
        Subject::Query(_) => None,
    };
    let ranged = line
        .own
        .zip(object)
        .zip(cluster)
        .and_then(|((which, object), cluster)| own(cluster, object, which, span));
    let is_several =
        |ranged: &Ranged| ranged.series.iter().any(|one| one.values.iter().flatten().nth(1).is_some());
    if let Some(ranged) = ranged.filter(|ranged| is_settled || is_several(ranged)) {
        known.is_own = true;
        return push(known, line, &ranged, 1.0);
    }
    if !is_settled {
        return;
    }
    let is_bound = line.part.is_bound();
    if let Some(now) = line.now.filter(|_| is_bound || panel.lines.len() == 1) {
        let name = format!("{} now", line.name);
        let (role, glyph) = look(line.part, known.series.len());
        let values = vec![Some(now); span.count];
        known.series.push(SeriesView { glyph, name, role, is_bound, is_beyond: false, span, values });
    }
}

/// Adds the series of an answer.
fn push(known: &mut Known, line: &Line, ranged: &Ranged, scale: f64) {
    let several = ranged.series.len() > 1;
    for one in ranged.series.iter().filter(|one| one.values.iter().any(Option::is_some)) {
        let at = known.series.iter().filter(|one| !one.is_bound).count();
        let (role, glyph) = look(line.part, at);
        let name = if several || line.name.is_empty() { name_of(one) } else { line.name.clone() };
        let values = one.values.iter().map(|value| value.map(|value| value * scale)).collect();
        let is_bound = line.part.is_bound();
        known.series.push(SeriesView {
            glyph,
            name,
            role,
            is_bound,
            is_beyond: false,
            span: ranged.span,
            values,
        });
    }
}

/// Returns the labels of a series, as PromQL writes them.
fn name_of(series: &Series) -> String {
    let name = series.label("__name__");
    let labels = series.labels.iter().filter(|(key, _)| key != "__name__");
    let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={value:?}")).collect();
    match (name.is_empty(), labels.is_empty()) {
        (true, true) => "value".to_owned(),
        (false, true) => name.to_owned(),
        _ => format!("{name}{{{}}}", labels.join(",")),
    }
}

fn look(part: Part, at: usize) -> (Role, &'static str) {
    const ROLES: [Role; 4] = [Role::Plot1, Role::Plot2, Role::Plot3, Role::Plot4];
    let glyph = GLYPHS.get(at % GLYPHS.len()).copied().unwrap_or("*");
    match part {
        Part::Request => (Role::PlotRequest, "-"),
        Part::Limit => (Role::PlotLimit, "="),
        Part::Bad => (Role::Critical, glyph),
        Part::First | Part::Second | Part::Third => {
            (ROLES.get(at % ROLES.len()).copied().unwrap_or_default(), glyph)
        }
    }
}

/// Determines the edges. The lower one is 0 unless a number is below it. A bound that is far above is not drawn.
fn scale(view: &mut PanelView, series: &mut [SeriesView], unit: Unit) {
    let within = |one: &SeriesView| -> Vec<f64> {
        let shown = |(index, value): (usize, &Option<f64>)| {
            let at = one.span.at(index);
            value.filter(|_| (view.from..=view.to).contains(&at))
        };
        one.values.iter().enumerate().filter_map(shown).collect()
    };
    let most = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let measured: Vec<f64> = series.iter().filter(|one| !one.is_bound).flat_map(within).collect();
    let (low, mut high) = (measured.iter().copied().fold(0.0, f64::min), most(&measured).max(0.0));
    let room = high;
    for one in series.iter_mut().filter(|one| one.is_bound) {
        let bound = most(&within(one));
        one.is_beyond = room > 0.0 && bound > room * FAR;
        if !one.is_beyond && bound.is_finite() {
            high = high.max(bound);
        }
    }
    (view.low, view.high) =
        if low < 0.0 { (-top(-low, unit), top(high, unit)) } else { (0.0, top(high, unit)) };
    let middle = f64::midpoint(view.low, view.high);
    view.ticks = [view.low, middle, view.high].map(|value| (value, number(value, unit))).to_vec();
}

/// Says why there is no plot.
fn empty(panel: &Panel, known: &Known) -> Vec<Cell> {
    let mut words = Vec::new();
    match &known.failed {
        Some(why) => words.push(cell(Role::Critical, format!("✖ {why}"))),
        None if known.is_waiting => return vec![cell(Role::Dim, "asking the Prometheus …")],
        None => {}
    }
    let is_query = panel.lines.iter().all(|line| line.name.is_empty());
    if known.failed.is_none() {
        words.push(cell(
            Role::Warning,
            if is_query {
                panel.source.clone()
            } else {
                format!("the Prometheus has no numbers of it in this time: {}", panel.source)
            },
        ));
    }
    if !is_query {
        let now: Vec<String> = panel
            .lines
            .iter()
            .filter_map(|line| Some(format!("{} {}", line.name, number(line.now?, panel.unit))))
            .collect();
        if !now.is_empty() {
            words.push(cell(Role::Dim, format!("now: {}", now.join(", "))));
        }
    }
    words
}

/// Returns the link of the first panel on the screen: the URL from the config, filled in.
pub fn link(plots: &Plots, template: &str) -> Option<String> {
    let query = queries(plots)?;
    let first = query.lines().next().unwrap_or_default();
    let (from, to) = (plots.span.from, plots.span.to());
    links::graph(template, &links::Graph { query: first, from, to, range: plots.range().0 })
}
