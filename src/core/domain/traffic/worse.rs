//! In what one version of a service is worse than another one.

use std::fmt;

/// The numbers in which one version is worse than the other: first its own number, then that of the other one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Worse {
    /// The error ratios, 0..1. `None` if the errors are not worse.
    pub errors: Option<(f64, f64)>,
    /// The p95 in milliseconds. `None` if the p95 is not worse.
    pub p95_ms: Option<(f64, f64)>,
}

impl fmt::Display for Worse {
    /// Writes `errors 6.6 % against 0 %; p95 90 ms against 20 ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((worse, other)) = self.errors {
            write!(f, "errors {} against {}", percent(worse), percent(other))?;
        }
        if let Some((worse, other)) = self.p95_ms {
            let and = if self.errors.is_some() { "; " } else { "" };
            write!(f, "{and}p95 {worse:.0} ms against {other:.0} ms")?;
        }
        Ok(())
    }
}

fn percent(ratio: f64) -> String {
    let percent = format!("{:.1}", ratio * 100.0);
    format!("{} %", percent.strip_suffix(".0").unwrap_or(&percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_worse_is_named() {
        let both = Worse { errors: Some((0.066, 0.0)), p95_ms: Some((90.4, 20.0)) };
        assert_eq!(both.to_string(), "errors 6.6 % against 0 %; p95 90 ms against 20 ms");
        assert_eq!(Worse { p95_ms: None, ..both }.to_string(), "errors 6.6 % against 0 %");
        assert_eq!(Worse { errors: None, ..both }.to_string(), "p95 90 ms against 20 ms");
    }
}
