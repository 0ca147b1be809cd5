//! Random draws for traffic: how many requests arrive, how many of them fail, how long they take. Small numbers are
//! drawn exactly; above a variance of 30 a normal distribution is used, and no test could tell the difference.

/// A source of random values.
#[derive(Debug)]
pub struct Dice(pub fastrand::Rng);

/// Above this variance a value is drawn from a normal distribution and rounded.
const NORMAL_FROM: f64 = 30.0;

impl Dice {
    /// Uniform in `(0, 1]`: its logarithm is finite.
    fn unit(&mut self) -> f64 {
        1.0 - self.0.f64()
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let (a, b) = (self.unit(), self.unit());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    pub fn chance(&mut self, p: f64) -> bool {
        p > 0.0 && self.0.f64() < p
    }

    /// The number of events of a Poisson process with this mean.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean <= 0.0 || !mean.is_finite() {
            return 0;
        }
        if mean > NORMAL_FROM {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u64;
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// The number of successes of `n` attempts, each with probability `p`.
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if n == 0 || p <= 0.0 {
            return 0;
        }
        if p >= 1.0 {
            return n;
        }
        if p > 0.5 {
            return n - self.binomial(n, 1.0 - p);
        }
        let mean = n as f64 * p;
        if mean * (1.0 - p) > NORMAL_FROM {
            let drawn = mean + (mean * (1.0 - p)).sqrt() * self.normal();
            return (drawn.round().max(0.0) as u64).min(n);
        }
        // Jumps from one success to the next, so the number of iterations is the number of successes, whatever n is.
        let (per, mut at, mut count) = ((-p).ln_1p(), 0.0, 0);
        loop {
            at += (self.unit().ln() / per).floor() + 1.0;
            if at > n as f64 {
                return count;
            }
            count += 1;
        }
    }

    /// Distributes `n` items over places by their weights. Without any weight nothing is distributed.
    pub fn multinomial(&mut self, mut n: u64, weights: &[f64], out: &mut [u64]) {
        let mut left: f64 = weights.iter().sum();
        let last = weights.iter().rposition(|weight| *weight > 0.0);
        for (place, (weight, out)) in weights.iter().zip(out.iter_mut()).enumerate() {
            let drawn = match last {
                Some(last) if place == last => n,
                Some(_) if left > 0.0 => self.binomial(n, weight / left),
                _ => 0,
            };
            *out += drawn;
            n -= drawn;
            left -= weight;
        }
    }

    /// `mean` rounded to a whole number at random, so that the average is right.
    pub fn whole(&mut self, mean: f64) -> u64 {
        let floor = mean.max(0.0).floor();
        floor as u64 + u64::from(self.chance(mean - floor))
    }
}

/// The distribution function of the standard normal distribution (Abramowitz and Stegun 7.1.26, accurate to 2e-7).
pub fn phi(x: f64) -> f64 {
    let z = x.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let series = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let sum = series.iter().fold(0.0, |sum, c| sum * t + c) * t;
    let upper = 0.5 * sum * (-z * z).exp();
    if x < 0.0 { upper } else { 1.0 - upper }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_their_mean_and_their_spread() {
        let mut dice = Dice(fastrand::Rng::with_seed(5));
        let mut moments = |draw: &mut dyn FnMut(&mut Dice) -> u64| {
            let all: Vec<f64> = (0..20_000).map(|_| draw(&mut dice) as f64).collect();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            (mean, all.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / all.len() as f64)
        };
        for (n, p) in [(10, 0.3), (40, 0.02), (1000, 0.5), (500, 0.9)] {
            let (mean, variance) = moments(&mut |dice| dice.binomial(n, p));
            let want = n as f64 * p;
            let spread = want * (1.0 - p);
            assert!((mean - want).abs() < 5.0 * (spread / 20_000.0).sqrt(), "{n} {p}: {mean}");
            assert!((variance / spread - 1.0).abs() < 0.06, "{n} {p}: {variance}");
        }
        for want in [0.4, 7.0, 90.0] {
            let (mean, variance) = moments(&mut |dice| dice.poisson(want));
            assert!((mean - want).abs() < 5.0 * (want / 20_000.0).sqrt(), "{want}: {mean}");
            assert!((variance / want - 1.0).abs() < 0.06, "{want}: {variance}");
        }
        let mut out = [0; 4];
        dice.multinomial(100_000, &[1.0, 0.0, 3.0, 0.0], &mut out);
        assert_eq!((out[1], out[3], out.iter().sum::<u64>()), (0, 0, 100_000));
        assert!((out[2] as f64 - 75_000.0).abs() < 700.0);
        assert!((phi(1.96) - 0.975).abs() < 1e-4 && (phi(-1.0) - 0.158_655).abs() < 1e-5);
    }
}
