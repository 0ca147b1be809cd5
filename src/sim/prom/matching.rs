//! Binary operators: arithmetic, comparison, sets; and the matching of series between the two sides.

use std::collections::HashMap;

use promql_parser::parser::{BinModifier, LabelModifier, VectorMatchCardinality};

use super::eval::{Point, QueryError, Value, unnamed, vector};
use super::tsdb::{Labels, NAME};

/// The two sides of an operator.
pub struct Joined<'a> {
    pub op: String,
    pub modifier: Option<&'a BinModifier>,
    pub left: Value,
    pub right: Value,
}

fn compares(op: &str) -> bool {
    matches!(op, "==" | "!=" | ">" | "<" | ">=" | "<=")
}

/// The result of an operator; for a comparison 1 or 0.
fn apply(op: &str, a: f64, b: f64) -> Result<f64, QueryError> {
    let flag = |yes: bool| f64::from(u8::from(yes));
    Ok(match op {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" => a / b,
        "%" => a % b,
        "^" => a.powf(b),
        #[allow(clippy::float_cmp, reason = "PromQL compares floats exactly")]
        "==" => flag(a == b),
        #[allow(clippy::float_cmp, reason = "PromQL compares floats exactly")]
        "!=" => flag(a != b),
        ">" => flag(a > b),
        "<" => flag(a < b),
        ">=" => flag(a >= b),
        "<=" => flag(a <= b),
        other => return Err(QueryError::Execution(format!("the operator {other} is not simulated"))),
    })
}

/// One operator.
pub fn binary(joined: Joined<'_>) -> Result<Value, QueryError> {
    let Joined { op, modifier, left, right } = joined;
    let as_bool = modifier.is_some_and(|m| m.return_bool);
    match (left, right) {
        (Value::Scalar(a), Value::Scalar(b)) => Ok(Value::Scalar(apply(&op, a, b)?)),
        (Value::Scalar(a), right) => with_scalar(&op, as_bool, vector(right)?, |v| (a, v)),
        (left, Value::Scalar(b)) => with_scalar(&op, as_bool, vector(left)?, |v| (v, b)),
        (left, right) => {
            let (left, right) = (vector(left)?, vector(right)?);
            match op.as_str() {
                "and" | "or" | "unless" => Ok(Value::Vector(sets(&op, modifier, left, right))),
                _ => pairs(&op, modifier, left, right),
            }
        }
    }
}

/// A comparison filters unless it has `bool`; every other operator drops the metric's name.
fn with_scalar(
    op: &str,
    as_bool: bool,
    points: Vec<Point>,
    sides: impl Fn(f64) -> (f64, f64),
) -> Result<Value, QueryError> {
    let mut out = Vec::new();
    for (labels, value) in points {
        let (a, b) = sides(value);
        let result = apply(op, a, b)?;
        if compares(op) && !as_bool {
            if result != 0.0 {
                out.push((labels, value));
            }
        } else {
            out.push((unnamed(labels), result));
        }
    }
    Ok(Value::Vector(out))
}

/// The labels that match the series of both sides.
fn key(labels: &Labels, modifier: Option<&BinModifier>) -> Labels {
    let matching = modifier.and_then(|m| m.matching.as_ref());
    let keeps = |label: &str| match matching {
        Some(LabelModifier::Include(on)) => on.labels.iter().any(|l| l == label),
        Some(LabelModifier::Exclude(ignoring)) => {
            !ignoring.labels.iter().any(|l| l == label) && label != NAME
        }
        None => label != NAME,
    };
    labels.iter().filter(|(k, _)| keeps(k)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn sets(op: &str, modifier: Option<&BinModifier>, left: Vec<Point>, right: Vec<Point>) -> Vec<Point> {
    let keys = |points: &[Point]| -> std::collections::HashSet<Labels> {
        points.iter().map(|(l, _)| key(l, modifier)).collect()
    };
    if op == "or" {
        let held = keys(&left);
        let more = right.into_iter().filter(|(l, _)| !held.contains(&key(l, modifier)));
        return left.into_iter().chain(more.collect::<Vec<_>>()).collect();
    }
    let others = keys(&right);
    let wanted = op == "and";
    left.into_iter().filter(|(l, _)| others.contains(&key(l, modifier)) == wanted).collect()
}

fn pairs(
    op: &str,
    modifier: Option<&BinModifier>,
    left: Vec<Point>,
    right: Vec<Point>,
) -> Result<Value, QueryError> {
    let card = modifier.map(|m| &m.card);
    // the side that is looked up has each key only once
    let swapped = matches!(card, Some(VectorMatchCardinality::OneToMany(_)));
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let brought = match card {
        Some(VectorMatchCardinality::ManyToOne(l) | VectorMatchCardinality::OneToMany(l)) => Some(l),
        _ => None,
    };
    let mut index: HashMap<Labels, (Labels, f64)> = HashMap::new();
    for (labels, value) in one {
        if index.insert(key(&labels, modifier), (labels, value)).is_some() {
            return Err(QueryError::Execution(
                "found duplicate series for the match group on the right hand-side of the operation: many-to-many matching not allowed: matching labels must be unique on one side".into(),
            ));
        }
    }
    let as_bool = modifier.is_some_and(|m| m.return_bool);
    let mut out: Vec<Point> = Vec::new();
    let mut met: std::collections::HashSet<Labels> = std::collections::HashSet::new();
    for (labels, value) in many {
        let group = key(&labels, modifier);
        let Some((other, held)) = index.get(&group) else { continue };
        if brought.is_none() && !met.insert(group.clone()) {
            return Err(QueryError::Execution(
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                    .into(),
            ));
        }
        let (a, b) = if swapped { (*held, value) } else { (value, *held) };
        let result = apply(op, a, b)?;
        let keeps = compares(op) && !as_bool;
        if keeps && result == 0.0 {
            continue;
        }
        let labels = match brought {
            Some(extra) => {
                let mut labels = if keeps { labels } else { unnamed(labels) };
                for name in &extra.labels {
                    match other.get(name) {
                        Some(value) => labels.insert(name.as_str(), value.clone()),
                        None => drop(labels.remove(name)),
                    }
                }
                labels
            }
            None if keeps => labels,
            None => match modifier.and_then(|m| m.matching.as_ref()) {
                Some(LabelModifier::Include(_)) => group,
                Some(LabelModifier::Exclude(_)) | None => key(&labels, modifier),
            },
        };
        out.push((labels, if keeps { a } else { result }));
    }
    Ok(Value::Vector(out))
}
