//! The split of a Service's requests over the legs of its route: to subsets of its own backends, or to other Services.

use super::draw::Dice;
use super::field::{Ask, Field, Leg, Service};
use super::flow::{Stretch, Work, route};

/// Where a route sent requests in this step, and how many; nothing if no route did.
pub(super) type Forwarded = Vec<(usize, u64)>;

/// The requests of one leg, or of none, that stay at a Service.
struct Part {
    by: Option<(usize, usize)>,
    n: u64,
}

/// Distributes the requests to a Service: to its backends, or to the legs of its route. Those for other Services are
/// added to what these are asked.
pub(super) fn distribute(
    field: &mut Field,
    at: usize,
    all: Vec<Ask>,
    asked: &mut [Vec<Ask>],
    dice: &mut Dice,
    stretch: Stretch,
) -> (Vec<Work>, Forwarded) {
    let Some(service) = field.services.get_mut(at) else { return (Vec::new(), Vec::new()) };
    (service.lost, service.failing) = (0.0, 0.0);
    service.offered += all.iter().map(|ask| ask.n).sum::<u64>();
    let legs: Vec<(usize, f64)> = service.legs.iter().map(|leg| (leg.to, leg.weight)).collect();
    let weights: Vec<f64> = legs.iter().map(|(_, weight)| *weight).collect();
    let mut parts: Vec<Part> = Vec::new();
    let mut forwarded: Forwarded = Vec::new();
    let mut nowhere = 0;
    for Ask { asker, n, by } in all.into_iter().filter(|ask| ask.n > 0) {
        let mut stays = n;
        if by.is_some() || legs.is_empty() {
            add(&mut parts, by, n);
        } else {
            let mut shares = vec![0; legs.len()];
            dice.multinomial(n, &weights, &mut shares);
            for (leg, ((to, _), k)) in legs.iter().zip(shares).enumerate().filter(|(_, (_, k))| *k > 0) {
                let by = Some((at, leg));
                if *to == at {
                    add(&mut parts, by, k);
                    continue;
                }
                stays -= k;
                forwarded.push((*to, k));
                if let Some(asked) = asked.get_mut(*to) {
                    asked.push(Ask { asker, n: k, by });
                }
            }
            // A route whose weights are all 0 sends its requests nowhere, which is an error for each of them.
            if weights.iter().all(|weight| *weight <= 0.0) {
                nowhere += n;
            }
        }
        if stays > 0
            && let Some(service) = field.services.get_mut(at)
        {
            *service.askers.entry(asker).or_default() += stays;
        }
    }
    if legs.is_empty() && parts.is_empty() {
        // Without requests, it is still found out whether there is a backend.
        add(&mut parts, None, 0);
    }
    let (mut work, mut lost, mut own) = (Vec::new(), nowhere, nowhere);
    for Part { by, n } in parts {
        let mut leg = by.and_then(|by| leg(field, by).cloned());
        lost += route(field, at, leg.as_mut(), n, &mut work, dice, stretch);
        own += n;
        if let (Some(by), Some(leg)) = (by, leg)
            && let Some(held) = self::leg(field, by)
        {
            held.turn = leg.turn;
        }
    }
    if let Some(service) = field.services.get_mut(at) {
        service.unrouted += nowhere;
        service.forwarded += forwarded.iter().map(|(_, k)| k).sum::<u64>();
        if own > 0 {
            service.lost = lost as f64 / own as f64;
        }
    }
    if !forwarded.is_empty() {
        forwarded.push((at, own));
    }
    (work, forwarded)
}

fn leg(field: &mut Field, (at, leg): (usize, usize)) -> Option<&mut Leg> {
    field.services.get_mut(at)?.legs.get_mut(leg)
}

fn add(parts: &mut Vec<Part>, by: Option<(usize, usize)>, n: u64) {
    match parts.iter_mut().find(|part| part.by == by) {
        Some(part) => part.n += n,
        None => parts.push(Part { by, n }),
    }
}

/// What callers notice of a split Service: the mean of its parts, by their requests in this step.
pub(super) fn come_back(field: &mut Field, at: usize, forwarded: &Forwarded) {
    let all: u64 = forwarded.iter().map(|(_, n)| n).sum();
    if all == 0 {
        return;
    }
    let mean = |value: fn(&Service) -> f64| {
        let of = |(to, n): &(usize, u64)| field.services.get(*to).map_or(0.0, value) * *n as f64 / all as f64;
        forwarded.iter().map(of).sum::<f64>()
    };
    let (lost, failing, excess) = (mean(|s| s.lost), mean(|s| s.failing), mean(|s| s.excess));
    if let Some(service) = field.services.get_mut(at) {
        (service.lost, service.failing, service.excess) = (lost, failing, excess);
    }
}
