//! Accuracy in units of the last place: double precision against correctly rounded values, single
//! precision against double.

use super::{golden, quotient};
use crate::algebra::{Algebra, Lane};
use crate::kernels::block::{Fused, Mode, Unfused};

fn ulp64(x: f64) -> f64 {
    let x = x.abs().max(f64::MIN_POSITIVE);
    x.next_up() - x
}

fn ulp32(x: f64) -> f64 {
    let x = (x.abs() as f32).max(f32::MIN_POSITIVE);
    f64::from(x.next_up()) - f64::from(x)
}

/// The worst error over the points, in ulp of the result (not below `floor`).
fn worst<M: Mode>(
    points: &[(f64, f64)],
    floor: f64,
    f: impl Fn(Lane<f64, M>) -> Lane<f64, M>,
) -> (f64, f64) {
    let mut worst = (0.0, 0.0);
    for &(x, y) in points {
        let error = (f(Lane::new(x)).0 - y).abs() / ulp64(y.abs().max(floor));
        if !(error <= worst.0) {
            worst = (error, x);
        }
    }
    worst
}

#[test]
fn double_precision_is_accurate() {
    fn check<M: Mode>() {
        let mut bad = Vec::new();
        macro_rules! check {
            ($($points:ident $f:ident $limit:expr $(, floor $floor:expr)?;)*) => {$(
                #[allow(unused_mut, unused_assignments)]
                let mut floor = 0.0;
                $(floor = $floor;)?
                let (error, at) = worst::<M>(golden::$points, floor, |x| x.$f());
                if !(error <= $limit) { bad.push((stringify!($f), error, at)); }
            )*};
        }
        check! {
            EXP exp 1.0; EXP2 exp2 1.0; EXPM1 expm1 2.0; LOG log 1.0; LOG2 log2 1.0; LOG10 log10 1.0;
            LOG1P log1p 2.0; SIN sin 1.0; COS cos 1.0; TAN tan 2.0; ASIN asin 2.0; ACOS acos 2.0;
            ATAN atan 2.0; SINH sinh 2.0; COSH cosh 2.0; TANH tanh 2.5; ASINH asinh 3.0;
            ACOSH acosh 3.0; ATANH atanh 3.0; SIGMOID sigmoid 2.5; ERF erf 2.0; ERFC erfc 4.0;
            ERFINV erfinv 8.0; LGAMMA lgamma 16.0, floor 1.0; DIGAMMA digamma 32.0, floor 1.0;
            I0 i0 8.0; I1 i1 8.0;
        }
        let (error, at) = worst::<M>(golden::TRIGAMMA, 1.0, |x| x.polygamma(1));
        if !(error <= 64.0) {
            bad.push(("trigamma", error, at));
        }
        let (error, at) = worst::<M>(golden::POLYGAMMA3, 0.0, |x| x.polygamma(3));
        if !(error <= 64.0) {
            bad.push(("polygamma3", error, at));
        }
        for &(x, y, r) in golden::POW {
            let error = (Lane::<f64, M>::new(x).pow(&Lane::new(y)).0 - r).abs() / ulp64(r);
            if !(error <= 2.0) {
                bad.push(("pow", error, x));
            }
        }
        assert!(bad.is_empty(), "{}: {bad:#?}", std::any::type_name::<M>());
    }
    check::<Fused>();
    check::<Unfused>();
}

#[test]
fn single_precision_is_accurate() {
    fn check<M: Mode>() {
        let mut bad = Vec::new();
        macro_rules! check {
            ($($f:ident $lo:literal $hi:literal $limit:literal;)*) => {$(
                let mut worst = (0.0, 0.0);
                for i in 0..=20_000 {
                    let even = $lo + ($hi - $lo) * f64::from(i) / 20_000.0;
                    // As well as even steps, steps in magnitude down to 1e-10.
                    let small = $hi * 10f64.powf(-f64::from(i) / 2000.0);
                    for x in [even, small, if $lo < 0.0 { -small } else { small }] {
                        let x = x as f32;
                        if f64::from(x) < $lo || f64::from(x) > $hi { continue; }
                        let y = Lane::<f64, Fused>::new(f64::from(x)).$f().0;
                        let error = (f64::from(Lane::<f32, M>::new(x).$f().0) - y).abs() / ulp32(y);
                        if !(error <= worst.0) { worst = (error, x); }
                    }
                }
                if !(worst.0 <= $limit) { bad.push((stringify!($f), worst)); }
            )*};
        }
        check! {
            exp -86.0 88.0 1.1; exp2 -125.0 127.0 1.1; expm1 -20.0 88.0 2.0; log 0.0 3.0 1.0;
            log 0.0 1e30 1.0; log2 0.0 3.0 0.6; log10 0.0 3.0 0.6; log1p -0.99 3.0 1.5;
            log1p 0.0 1e20 1.5; sin -10.0 10.0 1.0; sin -1e6 1e6 1.0; cos -10.0 10.0 1.0;
            cos -1e6 1e6 1.0; tan -10.0 10.0 0.6; tanh -10.0 10.0 2.5; tanh -1.0 1.0 2.5;
            sigmoid -87.0 20.0 2.5; erf -5.0 5.0 2.0; erfc -3.0 9.0 3.5; atan -9.0 9.0 0.6;
            asin -1.0 1.0 2.5; acos -1.0 1.0 1.5; erfinv -0.999999 0.999999 5.0; sinh -80.0 80.0 0.6; cosh -80.0 80.0 0.6;
            asinh -9.0 9.0 0.6; acosh 1.0 9.0 0.6; atanh -0.999 0.999 0.6;
        }
        // Between its zeros the logarithm of the gamma function is all that a single can hold.
        for i in -40_000..=40_000 {
            let x = i as f32 * 2.5e-4;
            let y = Lane::<f64, Fused>::new(f64::from(x)).lgamma().0;
            let error = (f64::from(Lane::<f32, M>::new(x).lgamma().0) - y).abs() / ulp32(y);
            if !(error <= 0.6 || y.is_infinite()) {
                bad.push(("lgamma", (error, x)));
            }
        }
        assert!(bad.is_empty(), "{}: {bad:#?}", std::any::type_name::<M>());
    }
    check::<Fused>();
    check::<Unfused>();
}

#[test]
fn the_normal_distribution_is_accurate() {
    fn check<M: Mode>() {
        for i in -130_000..=60_000 {
            let x = i as f32 * 1e-4;
            let (cdf, pdf) = Lane::<f32, M>::new(x).normal();
            let wide = Lane::<f64, Fused>::new(f64::from(x));
            let exact = wide.mul_lit(-std::f64::consts::FRAC_1_SQRT_2).erfc().0 * 0.5;
            let limit = if x > -1.0 { 4.5 } else { 4.0 + f64::from(x * x) * 0.5 };
            let error = (f64::from(cdf.0) - exact).abs() / ulp32(exact);
            assert!(error <= limit, "the distribution at {x}: {error} ulp");
            let exact = wide.normal().1.0;
            let limit = (4.0 + f64::from(x * x) * 0.5).max(4.5);
            let error = (f64::from(pdf.0) - exact).abs() / ulp32(exact);
            assert!(error <= limit, "the density at {x}: {error} ulp");
        }
        for (x, cdf) in [(f32::INFINITY, 1.0), (f32::NEG_INFINITY, 0.0), (-20.0, 0.0), (9.0, 1.0)] {
            assert_eq!(Lane::<f32, M>::new(x).normal().0.0, cdf);
        }
        assert!(Lane::<f32, M>::new(f32::NAN).normal().0.0.is_nan());
    }
    check::<Fused>();
    check::<Unfused>();
}

#[test]
fn special_values_are_those_of_c() {
    fn same(a: f64, b: f64) -> bool {
        (a.is_nan() && b.is_nan()) || (a == b && a.is_sign_negative() == b.is_sign_negative())
    }
    let inputs = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        2.0,
        -2.0,
        3.0,
        -3.0,
        0.5,
        -0.5,
        1e-310,
        -1e-310,
        1e300,
        -1e300,
        1e-300,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    let mut bad = Vec::new();
    macro_rules! check {
        ($($ours:ident $std:ident;)*) => {$(
            for x in inputs {
                let (exact, near) = (x.$std(), Lane::<f64, Fused>::new(x).$ours().0);
                let close = (near - exact).abs() <= 4.0 * ulp64(exact);
                if !(same(exact, near) || (close && exact != 0.0)) {
                    bad.push((stringify!($ours), x, exact, near));
                }
                let x = x as f32;
                let (exact, near) = (x.$std(), Lane::<f32, Fused>::new(x).$ours().0);
                let close = f64::from((near - exact).abs()) <= 4.0 * ulp32(f64::from(exact));
                if !(same(exact.into(), near.into()) || (close && exact != 0.0)) {
                    bad.push((stringify!($ours), x.into(), exact.into(), near.into()));
                }
            }
        )*};
    }
    check! {
        exp exp; exp2 exp2; expm1 exp_m1; log ln; log2 log2; log10 log10; log1p ln_1p; asin asin;
        acos acos; atan atan; sinh sinh; cosh cosh; tanh tanh; asinh asinh; acosh acosh; atanh atanh;
    }
    for x in inputs {
        for y in inputs {
            let (exact, near) = (f64::powf(x, y), Lane::<f64, Fused>::new(x).pow(&Lane::new(y)).0);
            if !(same(exact, near) || (near - exact).abs() <= 2.0 * ulp64(exact)) {
                bad.push(("pow", x, y, near));
            }
            let (exact, near) = (
                f32::powf(x as f32, y as f32),
                Lane::<f32, Fused>::new(x as f32).pow(&Lane::new(y as f32)).0,
            );
            if !(same(exact.into(), near.into())
                || f64::from((near - exact).abs()) <= ulp32(exact.into()))
            {
                bad.push(("pow32", x, y, near.into()));
            }
            let (exact, near) =
                (f64::atan2(x, y), Lane::<f64, Fused>::new(x).atan2(&Lane::new(y)).0);
            if !(same(exact, near) || (near - exact).abs() <= 2.0 * ulp64(exact)) {
                bad.push(("atan2", x, y, near));
            }
            let (exact, near) = (
                f32::atan2(x as f32, y as f32),
                Lane::<f32, Fused>::new(x as f32).atan2(&Lane::new(y as f32)).0,
            );
            if !(same(exact.into(), near.into())
                || f64::from((near - exact).abs()) <= 2.0 * ulp32(exact.into()))
            {
                bad.push(("atan2 32", x, y, near.into()));
            }
            let (exact, near) =
                (f64::hypot(x, y), Lane::<f64, Fused>::new(x).hypot(&Lane::new(y)).0);
            if !(same(exact, near) || (near - exact).abs() <= 2.0 * ulp64(exact)) {
                bad.push(("hypot", x, y, near));
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Numbers of all magnitudes.
fn scattered(n: usize) -> impl Iterator<Item = (f64, f64)> {
    let mut state = 1u64;
    (0..n).map(move |i| {
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 * 2f64.powi(-52) - 1.0
        };
        let (a, b) = (next(), next());
        // Every third pair far apart, every fourth with whole quotients.
        let far = if i % 3 == 0 { 1e9 } else { 30.0 };
        if i % 4 == 0 { ((a * far).round() * 3.0, 1.5) } else { (a * far, b) }
    })
}

#[test]
fn remainders_are_exact() {
    fn check<M: Mode>() {
        for (a, b) in scattered(200_000) {
            if !quotient::hard_f64(a, b) {
                let r = quotient::fmod_f64::<M>(a, b);
                assert_eq!(r.to_bits(), (a % b).to_bits(), "{a:e} % {b:e}");
            }
            let (a, b) = (a as f32, b as f32);
            if !quotient::hard_f32(a, b) {
                let r = quotient::fmod_f32::<M>(a, b);
                assert_eq!(r.to_bits(), (a % b).to_bits(), "{a:e} % {b:e}");
            }
        }
        for (a, b) in
            [(1.0, 0.0), (f64::INFINITY, 1.0), (1.0, f64::INFINITY), (f64::NAN, 1.0), (1e300, 1.0)]
        {
            assert!(quotient::hard_f64(a, b), "{a} % {b}");
            assert!(quotient::hard_f32(a as f32, b as f32), "{a} % {b}");
        }
    }
    check::<Fused>();
    check::<Unfused>();
}

#[test]
fn single_precision_functions_of_two_are_accurate() {
    fn check<M: Mode>() {
        for (a, b) in scattered(200_000) {
            let (a, b) = (a as f32, b as f32);
            let (wide_a, wide_b) = (f64::from(a), f64::from(b));
            let lanes = (Lane::<f32, M>::new(a), Lane::<f32, M>::new(b));
            let exact = wide_a.atan2(wide_b);
            let error = (f64::from(lanes.0.atan2(&lanes.1).0) - exact).abs() / ulp32(exact);
            assert!(error <= 2.0, "atan2({a:e}, {b:e}): {error} ulp");
            let exact = wide_a.abs().powf(wide_b * 3.0);
            if exact > 1e-37 && exact < 3e38 {
                let near = lanes.0.abs().pow(&Lane::new(b * 3.0)).0;
                let exact = wide_a.abs().powf(f64::from(b * 3.0));
                let error = (f64::from(near) - exact).abs() / ulp32(exact);
                assert!(error <= 0.6, "{a:e}^{b:e}: {error} ulp");
            }
        }
    }
    check::<Fused>();
    check::<Unfused>();
}
