//! Evaluates PromQL at one point in time: selectors, the functions that dashboards use, aggregations, operators.
//! Anything else is an error in Prometheus' own form, never invented data.

use std::sync::Arc;
use std::time::Duration;

use promql_parser::parser::{self, AggregateExpr, Call, Expr, LabelModifier, Offset, VectorSelector};

use super::functions::{anchored, bound_of, extrapolated, histogram_quantile, instant, quantile, regression};
use super::matching::{Joined, binary};
use super::scrape::SharedTsdb;
use super::tsdb::{Labels, NAME, Need, Sample, Tsdb, is_stale};

/// How far back an instant selector looks, as Prometheus' default.
const LOOKBACK_MS: i64 = 300_000;

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It cannot be parsed.
    #[error("{0}")]
    BadData(String),
    /// It cannot be evaluated.
    #[error("{0}")]
    Execution(String),
}

impl QueryError {
    /// `errorType` of the API.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BadData(_) => "bad_data",
            Self::Execution(_) => "execution",
        }
    }
}

/// A labelled value of an instant vector.
pub type Point = (Labels, f64);

/// The samples of each series of a range.
pub type Ranges = Vec<(Labels, Vec<Sample>)>;

/// The result of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Scalar(f64),
    Text(String),
    Vector(Vec<Point>),
    Matrix(Ranges),
}

/// Parses an expression, with Prometheus' error messages.
pub fn parse(query: &str) -> Result<Expr, QueryError> {
    if query.trim().is_empty() {
        return Err(QueryError::BadData(
            "invalid parameter \"query\": 1:1: parse error: no expression found in input".into(),
        ));
    }
    parser::parse(query)
        .map_err(|e| QueryError::BadData(format!("invalid parameter \"query\": 1:1: parse error: {e}")))
}

/// The value at `at` over a database behind a lock. The lock is held while the needed samples are copied, not during
/// the evaluation, because in a large cluster that would delay the scraper.
pub fn ask(db: &SharedTsdb, expr: &Expr, at: i64) -> Result<Value, QueryError> {
    let mut needs = Vec::new();
    collect(expr, at, &mut needs)?;
    let cut = db.read().cut(&needs);
    eval(&cut.into_tsdb(), expr, at)
}

/// The samples that the selectors of an expression need.
fn collect<'a>(expr: &'a Expr, at: i64, out: &mut Vec<Need<'a>>) -> Result<(), QueryError> {
    let need = |selector: &'a VectorSelector, range: Option<i64>| {
        let until = moved(selector, at)?;
        let (name, matchers) = (selector.name.as_deref(), &selector.matchers);
        let after = until.saturating_sub(range.unwrap_or(LOOKBACK_MS));
        Ok(Need { name, matchers, after, until, newest: range.is_none() })
    };
    match expr {
        Expr::VectorSelector(selector) => out.push(need(selector, None)?),
        Expr::MatrixSelector(matrix) => out.push(need(&matrix.vs, Some(millis(matrix.range)))?),
        Expr::Paren(paren) => collect(&paren.expr, at, out)?,
        Expr::Unary(unary) => collect(&unary.expr, at, out)?,
        Expr::Binary(binary) => {
            collect(&binary.lhs, at, out)?;
            collect(&binary.rhs, at, out)?;
        }
        Expr::Aggregate(aggregate) => {
            collect(&aggregate.expr, at, out)?;
            if let Some(param) = &aggregate.param {
                collect(param, at, out)?;
            }
        }
        Expr::Call(call) => {
            for arg in &call.args.args {
                collect(arg, at, out)?;
            }
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Subquery(_) | Expr::Extension(_) => {}
    }
    Ok(())
}

/// The value at `at` (milliseconds).
pub fn eval(db: &Tsdb, expr: &Expr, at: i64) -> Result<Value, QueryError> {
    match expr {
        Expr::NumberLiteral(n) => Ok(Value::Scalar(n.val)),
        Expr::StringLiteral(s) => Ok(Value::Text(s.val.clone())),
        Expr::Paren(p) => eval(db, &p.expr, at),
        Expr::Unary(u) => match eval(db, &u.expr, at)? {
            Value::Scalar(v) => Ok(Value::Scalar(-v)),
            Value::Vector(v) => Ok(Value::Vector(v.into_iter().map(|(l, v)| (unnamed(l), -v)).collect())),
            _ => Err(unsupported("unary minus of a range")),
        },
        Expr::VectorSelector(selector) => {
            let at = moved(selector, at)?;
            let found = db.select(selector.name.as_deref(), &selector.matchers).into_iter();
            let newest = found.filter_map(|s| {
                s.newest(at - LOOKBACK_MS, at).map(|sample| (s.labels.as_ref().clone(), sample.value))
            });
            Ok(Value::Vector(newest.collect()))
        }
        Expr::MatrixSelector(matrix) => {
            let at = moved(&matrix.vs, at)?;
            let range = millis(matrix.range);
            let found = db.select(matrix.vs.name.as_deref(), &matrix.vs.matchers).into_iter();
            let ranges = found.filter_map(|s| {
                let samples: Vec<Sample> = s.between(at - range, at).filter(|s| !is_stale(s.value)).collect();
                (!samples.is_empty()).then(|| (s.labels.as_ref().clone(), samples))
            });
            Ok(Value::Matrix(ranges.collect()))
        }
        Expr::Call(call) => function(db, call, at),
        Expr::Aggregate(aggregate) => aggregation(db, aggregate, at),
        Expr::Binary(b) => {
            let joined = Joined {
                op: b.op.to_string(),
                modifier: b.modifier.as_ref(),
                left: eval(db, &b.lhs, at)?,
                right: eval(db, &b.rhs, at)?,
            };
            binary(joined)
        }
        Expr::Subquery(_) => Err(unsupported("a subquery")),
        Expr::Extension(_) => Err(unsupported("this expression")),
    }
}

/// The result as a vector; a scalar becomes a vector without labels.
pub fn vector(value: Value) -> Result<Vec<Point>, QueryError> {
    match value {
        Value::Vector(points) => Ok(points),
        Value::Scalar(v) => Ok(vec![(Labels::new(), v)]),
        Value::Text(_) | Value::Matrix(_) => Err(unsupported("a range or a text where a vector is needed")),
    }
}

/// Without the metric's name.
pub fn unnamed(mut labels: Labels) -> Labels {
    labels.remove(NAME);
    labels
}

fn unsupported(what: &str) -> QueryError {
    QueryError::Execution(format!("{what} is not simulated"))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

fn moved(selector: &VectorSelector, at: i64) -> Result<i64, QueryError> {
    if selector.at.is_some() {
        return Err(unsupported("the @ modifier"));
    }
    Ok(match &selector.offset {
        Some(Offset::Pos(by)) => at - millis(*by),
        Some(Offset::Neg(by)) => at + millis(*by),
        None => at,
    })
}

/// The arguments of a call, evaluated one by one.
struct Args<'a> {
    db: &'a Tsdb,
    call: &'a Call,
    at: i64,
}

impl Args<'_> {
    fn expr(&self, i: usize) -> Result<&Expr, QueryError> {
        let arg = self.call.args.args.get(i).map(AsRef::as_ref);
        arg.ok_or_else(|| QueryError::BadData(format!("{} needs more arguments", self.call.func.name)))
    }

    fn value(&self, i: usize) -> Result<Value, QueryError> {
        eval(self.db, self.expr(i)?, self.at)
    }

    fn vector(&self, i: usize) -> Result<Vec<Point>, QueryError> {
        vector(self.value(i)?)
    }

    fn scalar(&self, i: usize) -> Result<f64, QueryError> {
        match self.value(i)? {
            Value::Scalar(v) => Ok(v),
            _ => Err(QueryError::BadData(format!("{} needs a scalar", self.call.func.name))),
        }
    }

    fn text(&self, i: usize) -> Result<String, QueryError> {
        match self.value(i)? {
            Value::Text(text) => Ok(text),
            _ => Err(QueryError::BadData(format!("{} needs a text", self.call.func.name))),
        }
    }

    /// Each series of a range, with the range's start and end.
    fn ranges(&self, i: usize) -> Result<(Ranges, i64, i64), QueryError> {
        let Expr::MatrixSelector(matrix) = self.expr(i)? else {
            return Err(unsupported("a range of anything but a selector"));
        };
        let end = moved(&matrix.vs, self.at)?;
        match self.value(i)? {
            Value::Matrix(ranges) => Ok((ranges, end - millis(matrix.range), end)),
            _ => Err(unsupported("a range of anything but a selector")),
        }
    }

    fn over_range(
        &self,
        i: usize,
        work: impl Fn(&[Sample], i64, i64) -> Option<f64>,
    ) -> Result<Value, QueryError> {
        let (ranges, start, end) = self.ranges(i)?;
        let points = ranges
            .into_iter()
            .filter_map(|(labels, samples)| work(&samples, start, end).map(|v| (unnamed(labels), v)));
        Ok(Value::Vector(points.collect()))
    }

    /// The times of the newest samples of a selector, in seconds; of any other vector the time of the query.
    fn timestamps(&self) -> Result<Value, QueryError> {
        let points: Vec<Point> = match self.expr(0)? {
            Expr::VectorSelector(selector) => {
                let at = moved(selector, self.at)?;
                let found = self.db.select(selector.name.as_deref(), &selector.matchers).into_iter();
                let newest = |s: &super::tsdb::Series| {
                    Some((s.labels.as_ref().clone(), s.newest(at - LOOKBACK_MS, at)?.at as f64 / 1000.0))
                };
                found.filter_map(newest).collect()
            }
            _ => self.vector(0)?.into_iter().map(|(labels, _)| (labels, self.at as f64 / 1000.0)).collect(),
        };
        Ok(Value::Vector(points.into_iter().map(|(labels, value)| (unnamed(labels), value)).collect()))
    }

    fn map(&self, work: impl Fn(f64) -> f64) -> Result<Value, QueryError> {
        Ok(Value::Vector(self.vector(0)?.into_iter().map(|(l, v)| (unnamed(l), work(v))).collect()))
    }
}

fn function(db: &Tsdb, call: &Call, at: i64) -> Result<Value, QueryError> {
    let args = Args { db, call, at };
    let values = |samples: &[Sample]| samples.iter().map(|s| s.value).collect::<Vec<_>>();
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    match call.func.name {
        "rate" => args.over_range(0, |s, from, to| extrapolated(s, from, to, true, true)),
        "increase" => args.over_range(0, |s, from, to| extrapolated(s, from, to, true, false)),
        "delta" => args.over_range(0, |s, from, to| extrapolated(s, from, to, false, false)),
        "irate" => args.over_range(0, |s, _, _| instant(s, true)),
        "idelta" => args.over_range(0, |s, _, _| instant(s, false)),
        "deriv" => args.over_range(0, |s, _, to| regression(s, to).map(|(slope, _)| slope)),
        "predict_linear" => {
            let ahead = args.scalar(1)?;
            args.over_range(0, move |s, _, to| regression(s, to).map(|(slope, now)| now + slope * ahead))
        }
        "avg_over_time" => args.over_range(0, |s, _, _| Some(mean(&values(s)))),
        "sum_over_time" => args.over_range(0, |s, _, _| Some(values(s).iter().sum())),
        "min_over_time" => args.over_range(0, |s, _, _| values(s).into_iter().min_by(f64::total_cmp)),
        "max_over_time" => args.over_range(0, |s, _, _| values(s).into_iter().max_by(f64::total_cmp)),
        "count_over_time" => args.over_range(0, |s, _, _| Some(s.len() as f64)),
        "last_over_time" => args.over_range(0, |s, _, _| s.last().map(|s| s.value)),
        "present_over_time" => args.over_range(0, |_, _, _| Some(1.0)),
        "changes" => args.over_range(0, |s, _, _| {
            Some(
                s.iter().zip(s.iter().skip(1)).filter(|(a, b)| a.value.to_bits() != b.value.to_bits()).count()
                    as f64,
            )
        }),
        "resets" => args.over_range(0, |s, _, _| {
            Some(s.iter().zip(s.iter().skip(1)).filter(|(a, b)| b.value < a.value).count() as f64)
        }),
        "quantile_over_time" => {
            let q = args.scalar(0)?;
            args.over_range(1, move |s, _, _| Some(quantile(q, values(s))))
        }
        "histogram_quantile" => histogram(&args),
        "abs" => args.map(f64::abs),
        "ceil" => args.map(f64::ceil),
        "floor" => args.map(f64::floor),
        "sqrt" => args.map(f64::sqrt),
        "exp" => args.map(f64::exp),
        "ln" => args.map(f64::ln),
        "round" => args.map(|v| (v + 0.5).floor()),
        "clamp_min" => {
            let least = args.scalar(1)?;
            args.map(move |v| v.max(least))
        }
        "clamp_max" => {
            let most = args.scalar(1)?;
            args.map(move |v| v.min(most))
        }
        "time" => Ok(Value::Scalar(at as f64 / 1000.0)),
        "timestamp" => args.timestamps(),
        "vector" => Ok(Value::Vector(vec![(Labels::new(), args.scalar(0)?)])),
        "scalar" => {
            let points = args.vector(0)?;
            let one = if points.len() == 1 { points.first().map(|(_, v)| *v) } else { None };
            Ok(Value::Scalar(one.unwrap_or(f64::NAN)))
        }
        "absent" => Ok(Value::Vector(if args.vector(0)?.is_empty() {
            vec![(Labels::new(), 1.0)]
        } else {
            Vec::new()
        })),
        "sort" | "sort_desc" => {
            let mut points = args.vector(0)?;
            points.sort_by(|a, b| a.1.total_cmp(&b.1));
            if call.func.name == "sort_desc" {
                points.reverse();
            }
            Ok(Value::Vector(points))
        }
        "label_replace" => label_replace(&args),
        other => Err(unsupported(&format!("the function {other}"))),
    }
}

fn label_replace(args: &Args<'_>) -> Result<Value, QueryError> {
    let (target, replacement, source, pattern) = (args.text(1)?, args.text(2)?, args.text(3)?, args.text(4)?);
    let regex = anchored(&pattern)
        .map_err(|e| QueryError::BadData(format!("invalid regular expression in label_replace(): {e}")))?;
    let mut points = args.vector(0)?;
    for (labels, _) in &mut points {
        let value = labels.get(&source).cloned().unwrap_or_default();
        let Some(found) = regex.captures(&value) else { continue };
        let mut text = String::new();
        found.expand(&replacement, &mut text);
        if text.is_empty() {
            labels.remove(&target);
        } else {
            labels.insert(target.clone(), text);
        }
    }
    Ok(Value::Vector(points))
}

fn histogram(args: &Args<'_>) -> Result<Value, QueryError> {
    let q = args.scalar(0)?;
    let mut groups: Vec<(Labels, Vec<(f64, f64)>)> = Vec::new();
    let mut known: std::collections::HashMap<Labels, usize> = std::collections::HashMap::new();
    for (labels, count) in args.vector(1)? {
        let mut labels = unnamed(labels);
        let Some(le) = labels.remove("le").and_then(|le| bound_of(&le)) else { continue };
        let place = *known.entry(labels).or_insert_with_key(|labels| {
            groups.push((labels.clone(), Vec::new()));
            groups.len() - 1
        });
        if let Some((_, buckets)) = groups.get_mut(place) {
            buckets.push((le, count));
        }
    }
    let points = groups.into_iter().map(|(labels, buckets)| (labels, histogram_quantile(q, buckets)));
    Ok(Value::Vector(points.collect()))
}

/// The labels that identify a group.
pub fn grouped(labels: &Labels, modifier: Option<&LabelModifier>) -> Labels {
    match modifier {
        None => Labels::new(),
        Some(LabelModifier::Include(by)) => by
            .labels
            .iter()
            .filter_map(|k| labels.get(k).map(|v| (Arc::from(k.as_str()), v.clone())))
            .collect(),
        Some(LabelModifier::Exclude(without)) => labels
            .iter()
            .filter(|(k, _)| ***k != *NAME && !without.labels.iter().any(|label| **label == ***k))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
    }
}

fn aggregation(db: &Tsdb, aggregate: &AggregateExpr, at: i64) -> Result<Value, QueryError> {
    let points = vector(eval(db, &aggregate.expr, at)?)?;
    let parameter = match &aggregate.param {
        Some(expr) => match eval(db, expr, at)? {
            Value::Scalar(v) => Some(v),
            _ => return Err(unsupported("a parameter that is no number")),
        },
        None => None,
    };
    let mut groups: Vec<(Labels, Vec<Point>)> = Vec::new();
    let mut known: std::collections::HashMap<Labels, usize> = std::collections::HashMap::new();
    for (labels, value) in points {
        let key = grouped(&labels, aggregate.modifier.as_ref());
        let i = *known.entry(key.clone()).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        if let Some((_, members)) = groups.get_mut(i) {
            members.push((labels, value));
        }
    }
    let op = aggregate.op.to_string();
    let mut out = Vec::new();
    for (labels, mut members) in groups {
        let values: Vec<f64> = members.iter().map(|(_, v)| *v).collect();
        let value = match op.as_str() {
            "sum" => values.iter().sum(),
            "avg" => values.iter().sum::<f64>() / values.len() as f64,
            "min" => values.iter().copied().fold(f64::NAN, f64::min),
            "max" => values.iter().copied().fold(f64::NAN, f64::max),
            "count" => values.len() as f64,
            "group" => 1.0,
            "quantile" => quantile(parameter.unwrap_or(f64::NAN), values),
            "topk" | "bottomk" => {
                members.sort_by(|a, b| b.1.total_cmp(&a.1));
                if op == "bottomk" {
                    members.reverse();
                }
                let keep = parameter.unwrap_or(0.0).max(0.0) as usize;
                out.extend(members.into_iter().take(keep));
                continue;
            }
            other => return Err(unsupported(&format!("the aggregation {other}"))),
        };
        out.push((labels, value));
    }
    Ok(Value::Vector(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn db() -> Tsdb {
        let mut db = Tsdb::new(3_600_000);
        for t in 0..=60 {
            for (pod, code, each) in [("a", "200", 9.0), ("a", "500", 1.0), ("b", "200", 20.0)] {
                let labels = [(NAME, "http_requests_total"), ("pod", pod), ("code", code), ("job", "web")];
                let labels = labels.into_iter().collect();
                db.append(labels, t * 5_000, each * 5.0 * t as f64);
            }
        }
        db
    }

    /// Evaluates over the whole database, and over the part that the expression needs; both must agree.
    fn ask(query: &str) -> Vec<(String, f64)> {
        let expr = parse(query).unwrap();
        let whole = eval(&db(), &expr, 300_000).unwrap();
        let shared = SharedTsdb::new(Duration::from_secs(3600));
        *shared.write() = db();
        assert_eq!(super::ask(&shared, &expr, 300_000).unwrap(), whole, "{query}");
        let mut points = vector(whole).unwrap();
        points.sort_by(|a, b| a.0.cmp(&b.0));
        let show = |l: &Labels| l.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",");
        points.iter().map(|(l, v)| (show(l), (v * 1e6).round() / 1e6)).collect()
    }

    #[test]
    fn what_dashboards_ask() {
        let by_pod = vec![("pod=a".into(), 10.0), ("pod=b".into(), 20.0)];
        assert_eq!(ask("sum by (pod) (rate(http_requests_total[1m]))"), by_pod);
        assert_eq!(ask("sum without (code, job) (rate(http_requests_total[1m]))"), by_pod);
        assert_eq!(
            ask("sum(rate(http_requests_total{code=~\"5..\"}[1m])) / sum(rate(http_requests_total[1m]))"),
            [(String::new(), 0.033_333)]
        );
        assert_eq!(ask("max(count_over_time(http_requests_total[5m]))"), [(String::new(), 60.0)]);
        assert_eq!(ask("count(http_requests_total) == 3"), [(String::new(), 3.0)]);
        assert_eq!(ask("count(http_requests_total) > 3"), []);
        assert_eq!(ask("topk(1, sum by (pod) (rate(http_requests_total[1m])))"), [("pod=b".into(), 20.0)]);
        assert_eq!(ask("absent(nothing)"), [(String::new(), 1.0)]);
        assert_eq!(
            ask("2 * sum by (pod) (irate(http_requests_total[1m])) > bool 30"),
            [("pod=a".into(), 0.0), ("pod=b".into(), 1.0)]
        );
        assert_eq!(
            ask(
                "sum by (pod) (rate(http_requests_total{code=\"500\"}[1m])) / on (pod) sum by (pod) (rate(http_requests_total[1m]))"
            ),
            [("pod=a".into(), 0.1)]
        );
        assert_eq!(
            ask(
                "sum by (pod) (rate(http_requests_total{code=\"500\"}[1m])) or sum by (pod) (rate(http_requests_total[1m]) * 0)"
            ),
            [("pod=a".into(), 1.0), ("pod=b".into(), 0.0)]
        );
        assert_eq!(ask("vector(1)"), [(String::new(), 1.0)]);
        assert_eq!(ask("max(timestamp(http_requests_total offset 12s))"), [(String::new(), 285.0)]);
        assert_eq!(ask("max(timestamp(http_requests_total + 0))"), [(String::new(), 300.0)]);
    }

    #[test]
    fn what_finds_out_which_metrics_there_are() {
        assert_eq!(
            ask("count by (__name__) ({__name__=~\"http_.+|istio_.+\",code!~\"5..\"})"),
            [("__name__=http_requests_total".into(), 2.0)]
        );
        let has = |counter: &str, name: &str| {
            format!("label_replace(max(count_over_time({counter}[5m])), \"preset\", \"{name}\", \"\", \"\")")
        };
        let both =
            [has("nothing{reporter=\"destination\"}", "a"), has("http_requests_total", "b")].join(" or ");
        assert_eq!(ask(&both), [("preset=b".into(), 60.0)]);
        assert_eq!(
            ask("sum by (pod) (rate(http_requests_total{code=~\"5.*|0\"}[1m]) and http_requests_total)"),
            [("pod=a".into(), 1.0)]
        );
        assert_eq!(
            ask("sum by (pod) (http_requests_total{code=\"500\"}) - sum by (pod) (absent_one) or vector(0)"),
            [(String::new(), 0.0)]
        );
    }

    #[test]
    fn what_is_wrong_or_missing_is_an_error_and_never_a_number() {
        assert_eq!(parse("sum(").unwrap_err().kind(), "bad_data");
        assert_eq!(parse("").unwrap_err().kind(), "bad_data");
        let err = eval(
            &db(),
            &parse("holt_winters(http_requests_total[5m], 0.5, 0.5)")
                .unwrap_or_else(|_| parse("day_of_week()").unwrap()),
            0,
        )
        .unwrap_err();
        assert!(err.to_string().contains("not simulated"), "{err}");
        assert!(
            eval(&db(), &parse("max_over_time(rate(http_requests_total[1m])[5m:1m])").unwrap(), 0).is_err()
        );
    }
}
