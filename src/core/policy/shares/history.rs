//! The verdict over several polls: what differs in one poll may be noise, a late scrape, or a rollout.
//!
//! The rates of a poll cover a whole window, so the windows of several polls in a row overlap. Waiting for three windows
//! without overlap would take minutes. So a difference must be seen in three polls in a row, or in two if it is strong, or
//! in one if it is strong and far beyond the noise. Each poll looks at the whole window and, from the rates of the polls
//! before, at its newest third and sixth.

use std::iter;

use super::evidence::{self, EFFECT, FEWEST, Gap};
use super::settled_ms;
use crate::domain::id::Name;
use crate::domain::time::Stamp;
use crate::domain::traffic::{
    BackendTraffic, Balancing, Imbalance, Rates, ServiceTraffic, Share, Shares, Standing, Stray, Trail,
};
use crate::facts::verdicts::TrafficRow;

/// A difference must be seen in this many polls in a row …
const POLLS: i8 = 3;
/// … or in this many, if it is strong …
const STRONG_POLLS: i8 = 2;
/// … that is, at least this large.
const STRONG: f64 = 0.5;
/// A backend that gets much more counts at once if it is so many times beyond the bound. One that gets less may have missed
/// a scrape, so it must last.
const BEYOND_DOUBT: f64 = 1.6;
/// A backend that was uneven is even again below this difference.
const CLEARED: f64 = 0.15;
/// A backend below this part of its share gets a mark, even if another one gets too much.
const LITTLE: f64 = 0.5;
/// The newest parts of the window that are looked at besides the whole.
const NEWEST: [f64; 2] = [1.0 / 3.0, 1.0 / 6.0];
/// Polls that count are at least this part of a scrape interval apart. Targets are scraped one after the other, so polls
/// that follow each other more closely have most of their samples in common.
const APART: f64 = 0.6;
/// How fast the dispersion follows what is seen, per poll. The windows of several polls overlap, so it is slow.
const LEARNS: f64 = 0.04;

/// Joins the verdict of a poll with those before. `before` is the row of the poll before.
pub fn over_time(
    mut shares: Shares,
    traffic: &ServiceTraffic,
    balancing: &Balancing,
    before: Option<&TrafficRow>,
    at: Stamp,
) -> Shares {
    let window = f64::from(traffic.window_secs);
    for (i, (share, backend)) in shares.backends.iter_mut().zip(&*traffic.backends).enumerate() {
        let held = before.and_then(|row| earlier(row, i, &backend.name)).copied().unwrap_or_default();
        share.trail = held.trail;
        share.trail.out_since = share.out.then(|| held.trail.out_since.unwrap_or(at));
        share.standing = held.standing;
    }
    let counted = evidence::counted(traffic);
    let settled = settled(&shares, traffic);
    let total: f64 = settled.iter().map(|(_, rps)| rps).sum();
    let assumed = evidence::assumed(traffic, balancing, total * counted);
    let least = evidence::least(balancing.policy, assumed);
    let learned = before.and_then(|row| row.shares.dispersion);
    let dispersion = learned.unwrap_or(assumed).max(least);
    let recent = NEWEST.map(|part| recent(&shares, &settled, traffic, part, at));
    let bound = evidence::bound(settled.len());
    let is_same = before.is_some_and(|row| is_same(&shares, traffic, row, at));
    shares.counted = if is_same { before.and_then(|row| row.shares.counted) } else { Some(at) };
    let scrapes = shift(&shares, &settled, total, at);
    for (i, share) in shares.backends.iter_mut().enumerate() {
        let was = share.standing;
        let (Some(_), Some(observed), Some(range)) = (share.significant, share.observed, share.range) else {
            share.standing = Standing::NotJudged;
            (share.trail.streak, share.trail.strong) = (0, 0);
            continue;
        };
        let n = if share.new { total / (1.0 - observed).max(0.01) } else { total } * counted;
        let whole = Gap::of(observed, range, n, dispersion);
        let newest =
            recent.each_ref().map(|recent| recent.as_ref().and_then(|r| r.gap(i, range, dispersion)));
        let effect = EFFECT + scrapes;
        let gaps = || iter::once(&whole).chain(&newest).flatten();
        let side = |effect: f64, bound: f64| -> i8 {
            gaps().map(|gap| gap.side(effect, bound)).find(|side| *side != 0).unwrap_or(0)
        };
        // A backend without a share that gets requests has no relative difference.
        let zero = range.1 <= 0.0 && share.significant == Some(true);
        let (side, strong, beyond_doubt) = if zero {
            (1, 1, 1)
        } else if gaps().all(|gap| gap.effect.abs() < effect) {
            // most are
            (0, 0, 0)
        } else {
            let strong = STRONG.max(effect);
            (side(effect, bound), side(strong, bound), side(strong, bound * BEYOND_DOUBT))
        };
        share.trail.streak = longer(share.trail.streak, side, is_same);
        share.trail.strong = longer(share.trail.strong, strong, is_same);
        if beyond_doubt > 0 {
            share.trail.strong = share.trail.strong.max(STRONG_POLLS);
        }
        let lasts = share.trail.streak.abs() >= POLLS || share.trail.strong.abs() >= STRONG_POLLS;
        let gap = whole.map_or(0.0, |gap| gap.effect);
        let still = match was {
            Standing::Over => zero || gap >= CLEARED,
            Standing::Under => gap <= -CLEARED,
            _ => false,
        };
        share.standing = match (lasts, side) {
            (true, 1) => Standing::Over,
            (true, -1) if !share.new => Standing::Under,
            _ if still => was,
            (_, 0) => Standing::Even,
            _ => Standing::Suspect,
        };
    }
    mark(&mut shares);
    shares.dispersion = Some(learn(&shares, &settled, learned.unwrap_or(assumed), total * counted));
    shares.imbalance = imbalance(&shares, &settled, total * counted, dispersion);
    let most = before.and_then(|row| row.shares.most_rps);
    let rates = settled.iter().map(|(_, rps)| *rps);
    shares.most_rps = rates.chain(most).filter(|rps| rps.is_finite()).reduce(f64::max);
    shares.stray = stray(&shares, traffic, at);
    for (share, backend) in shares.backends.iter_mut().zip(&*traffic.backends) {
        share.significant = share.significant.map(|_| share.standing.is_uneven());
        remember(&mut share.trail, at, backend.rps, window);
    }
    shares
}

/// Returns the share that a backend had after the poll before. The backends are usually in the same order.
fn earlier<'a>(row: &'a TrafficRow, i: usize, name: &Name) -> Option<&'a Share> {
    let same = row.traffic.backends.get(i).is_some_and(|b| b.name == *name);
    if same {
        return row.shares.backends.get(i);
    }
    row.backends().find(|(b, _)| b.name == *name).map(|(_, share)| share)
}

/// Returns true if nothing was scraped since the last poll that counted, so that this one proves nothing new. The rates may
/// differ, because they are extrapolated, but all by the same factor.
fn is_same(shares: &Shares, traffic: &ServiceTraffic, before: &TrafficRow, at: Stamp) -> bool {
    let since = |counted| at.since(counted) as f64 / 1_000.0;
    match before.shares.counted {
        None => return false,
        Some(counted) if since(counted) < evidence::scrape(traffic) * APART => return true,
        Some(counted) if since(counted) >= evidence::scrape(traffic) => return false,
        Some(_) => {}
    }
    let mut rows = shares.backends.iter().zip(&*traffic.backends).enumerate();
    let same = |(i, (share, backend)): (usize, (&Share, &BackendTraffic))| {
        let was = earlier(before, i, &backend.name).and_then(|was| was.observed);
        match (share.observed, was) {
            (Some(now), Some(was)) => (now - was).abs() <= 1e-9 * now.abs(),
            (None, None) => true,
            _ => false,
        }
    };
    before.shares.backends.len() == shares.backends.len() && rows.all(same)
}

/// The settled backends in rotation, by their indexes, with their rates.
type Settled = [(usize, f64)];

fn settled(shares: &Shares, traffic: &ServiceTraffic) -> Vec<(usize, f64)> {
    let rows = shares.backends.iter().zip(&*traffic.backends).enumerate();
    rows.filter(|(_, (share, _))| !share.out && !share.new)
        .filter_map(|(i, (_, backend))| Some((i, backend.rps.filter(|rps| rps.is_finite())?)))
        .collect()
}

fn shares_of<'a>(shares: &'a Shares, settled: &'a Settled) -> impl Iterator<Item = (usize, &'a Share)> {
    settled.iter().filter_map(|(i, _)| Some((*i, shares.backends.get(*i)?)))
}

/// A poll that proves nothing new can end a streak, but not continue it.
fn longer(streak: i8, side: i8, is_same: bool) -> i8 {
    if streak.signum() != side {
        if is_same { 0 } else { side }
    } else if is_same {
        streak
    } else {
        streak.saturating_add(side)
    }
}

/// The requests of the newest part of the window.
struct Recent {
    /// By backend.
    rates: Vec<Option<f64>>,
    total: f64,
    /// The length in seconds.
    secs: f64,
    /// How much more it varies than a count over as many seconds, because it is calculated from two windows.
    noise: f64,
}

impl Recent {
    fn gap(&self, i: usize, range: (f64, f64), dispersion: f64) -> Option<Gap> {
        let rate = (*self.rates.get(i)?)?;
        Gap::of(rate / self.total, range, self.total * self.secs, dispersion * self.noise)
    }
}

/// Returns the rates of about the newest `part` of the window, and of at least two scrapes: what is in this window and
/// not in the one that ended so long ago. The requests of the older window are taken to be spread evenly within it.
fn recent(
    shares: &Shares,
    settled: &Settled,
    traffic: &ServiceTraffic,
    part: f64,
    at: Stamp,
) -> Option<Recent> {
    let (window, scrape) = (f64::from(traffic.window_secs), evidence::scrape(traffic));
    let secs = |stamp: Stamp| at.since(stamp) as f64 / 1_000.0;
    let wanted = (window * part).max(2.0 * scrape);
    // Every backend has rates of the same polls, except for those that were added later.
    let (_, first) = shares_of(shares, settled).next()?;
    let times = first.trail.past.iter().map(|(stamp, _)| stamp);
    let times = times.filter(|stamp| *stamp < at && (wanted * 0.75..=window * 0.55).contains(&secs(*stamp)));
    let nearest = |a: &Stamp, b: &Stamp| (secs(*a) - wanted).abs().total_cmp(&(secs(*b) - wanted).abs());
    let then = times.min_by(nearest)?;
    let length = secs(then);
    let mut rates = vec![None; shares.backends.len()];
    for ((i, share), (_, rps)) in shares_of(shares, settled).zip(settled) {
        // All or none: without one of the backends, the sum is wrong.
        let (_, older) = share.trail.past.iter().find(|(stamp, _)| *stamp == then)?;
        let newer = (window * rps - (window - length) * older) / length;
        *rates.get_mut(i)? = Some(newer.max(0.0));
    }
    let total: f64 = rates.iter().flatten().sum();
    (total > 0.0).then(|| Recent { rates, total, secs: length, noise: noise(window, scrape, length) })
}

/// Returns the noise of the newest `length` seconds, relative to that of a count. Both windows count whole scrapes: the
/// part that only the newer one has, the part of both, and the part that only the older one has.
fn noise(window: f64, scrape: f64, length: f64) -> f64 {
    let counted = window - scrape;
    let moved = ((length / scrape - 0.2).ceil() * scrape).clamp(scrape, counted);
    let (newer, both, older) = (window / counted, length / counted, (window - length) / counted);
    (moved * newer.powi(2) + (counted - moved) * both.powi(2) + moved * older.powi(2)) / length
}

/// Returns by how much more the shares may differ because the load changes: targets that are scraped one after the other
/// see the change up to a scrape interval later, which is at most a quarter of the window.
fn shift(shares: &Shares, settled: &Settled, total: f64, at: Stamp) -> f64 {
    let oldest = |share: &Share| share.trail.past.iter().rev().find(|(t, _)| *t < at).map(|(_, rps)| rps);
    let before: Option<f64> = shares_of(shares, settled).map(|(_, share)| oldest(share)).sum();
    match before {
        Some(before) if total > 0.0 => ((total - before).abs() / total.max(before) * 0.25).min(0.25),
        _ => 0.0,
    }
}

/// A backend with too little is not marked if it only follows from another that gets too much.
fn mark(shares: &mut Shares) {
    let any_over = shares.backends.iter().any(|share| share.standing == Standing::Over);
    for share in &mut shares.backends {
        let gets_little = share.observed < share.range.map(|(low, _)| low * LITTLE);
        share.marked = match share.standing {
            Standing::Over => true,
            Standing::Under => !any_over || gets_little,
            _ => false,
        };
    }
}

/// Returns the dispersion with the experience of this poll. Nothing is learned while a backend differs.
fn learn(shares: &Shares, settled: &Settled, known: f64, n: f64) -> f64 {
    let mut chi = 0.0;
    let mut k = 0u32;
    for (_, share) in shares_of(shares, settled) {
        let (Some(observed), Some((low, high))) = (share.observed, share.range) else { return known };
        let Some(gap) = Gap::of(observed, (low, high), n, 1.0) else { return known };
        if gap.effect.abs() >= CLEARED || !matches!(share.standing, Standing::Even) {
            return known;
        }
        chi += gap.z_squared() * (1.0 - high.max(low));
        k += 1;
    }
    if k < 2 {
        return known;
    }
    let seen = chi / f64::from(k - 1);
    known + LEARNS * (seen.min(4.0 * known) - known)
}

fn imbalance(shares: &Shares, settled: &Settled, n: f64, dispersion: f64) -> Option<Imbalance> {
    let judged = shares_of(shares, settled).filter(|(_, share)| share.significant.is_some());
    // Within the range, a share is as expected.
    let times = judged.filter_map(|(i, share)| {
        let (observed, (low, high)) = (share.observed?, share.range?);
        let p = observed.clamp(low.min(high), high.max(low));
        (p > 0.0).then(|| (i, observed / p, p))
    });
    let judged: Vec<(usize, f64, f64)> = times.collect();
    let (backend, times, p) = judged.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let k = judged.len() as f64;
    if k < 2.0 || n <= 0.0 {
        return None;
    }
    let (sum, squares) =
        judged.iter().fold((0.0, 0.0), |(sum, squares), (_, x, _)| (sum + x, squares + x * x));
    Some(Imbalance {
        times,
        floor: 1.0 + evidence::bound(k as usize) * (dispersion * (1.0 - p) / (n * p)).sqrt(),
        backend,
        jain: sum * sum / (k * squares),
        jain_floor: 1.0 / (1.0 + dispersion * (k - 1.0) / n),
    })
}

/// Returns the backends that have been out of rotation for longer than the window and still get requests.
fn stray(shares: &Shares, traffic: &ServiceTraffic, at: Stamp) -> Vec<Stray> {
    let window = f64::from(traffic.window_secs);
    let rows = shares.backends.iter().zip(&*traffic.backends);
    let long = |share: &Share| {
        share.trail.out_since.is_some_and(|since| at.since(since) >= settled_ms(traffic.window_secs))
    };
    rows.filter(|(share, _)| share.out && long(share))
        .filter_map(|(_, b)| Some((b, b.rps.filter(|rps| rps.is_finite() && rps * window >= FEWEST)?)))
        .map(|(b, rps)| Stray { backend: b.name.clone(), rps })
        .collect()
}

/// Keeps the rate of this poll, if the newest that is kept is old enough. Polls that are further apart than the window
/// say nothing about its newest part.
fn remember(trail: &mut Trail, at: Stamp, rps: Option<f64>, window: f64) {
    let apart_ms = (window * 1_000.0 / 6.0 * 0.75) as u64;
    let Some(rps) = rps.filter(|rps| rps.is_finite()) else {
        trail.past = Rates::default();
        return;
    };
    if trail.past.iter().next().is_none_or(|(last, _)| last >= at || at.since(last) >= apart_ms) {
        trail.past.add(at, rps);
    }
}
