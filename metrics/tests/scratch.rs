//! s
use arrow::array::*;
use limno_metrics::column::*;
use limno_metrics::state::*;
use std::sync::Arc;
use std::time::Instant;
#[test]
fn timing() {
    let o = ColumnOptions::exact(ColumnKind::Numeric);
    let v = |seed: u64, n: u64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values((0..n).map(|i| {
            let mut z = (i + seed * 1000003).wrapping_mul(0x9e3779b97f4a7c15);
            z ^= z >> 30;
            z = z.wrapping_mul(0xbf58476d1ce4e5b9);
            z ^= z >> 27;
            (z >> 11) as f64 / 9e15
        })))
    };
    for n in [12500, 25_000u64, 50_000, 100_000] {
        let t = Instant::now();
        let a = ColumnState::of(&v(1, n), &o).unwrap();
        let t1 = t.elapsed();
        let t = Instant::now();
        let e = a.encode().unwrap();
        let t2 = t.elapsed();
        let t = Instant::now();
        let d = ColumnState::decode(&e).unwrap();
        let t3 = t.elapsed();
        let mut b = ColumnState::of(&v(2, n / 2), &o).unwrap();
        let t = Instant::now();
        b.merge(&d).unwrap();
        let t4 = t.elapsed();
        let mut z = ColumnState::empty(&o);
        let t = Instant::now();
        z.merge(&d).unwrap();
        let t5 = t.elapsed();
        let t = Instant::now();
        let q = d.clone().freeze().unwrap().profile();
        let t6 = t.elapsed();
        eprintln!(
            "{n}: observe {t1:?} encode {t2:?} ({} bytes) decode {t3:?} merge-into-half {t4:?} merge-into-empty {t5:?} profile {t6:?} {:?}",
            e.len(),
            q.distinct_count
        );
        let s: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..n).map(|i| format!("k{}", i.wrapping_mul(0x9e3779b97f4a7c15)))));
        let oc = ColumnOptions::exact(ColumnKind::Categorical);
        let t = Instant::now();
        let a = ColumnState::of(&s, &oc).unwrap();
        let t1 = t.elapsed();
        let t = Instant::now();
        let e = a.encode().unwrap();
        let t2 = t.elapsed();
        let t = Instant::now();
        let d = ColumnState::decode(&e).unwrap();
        let t3 = t.elapsed();
        let mut z = ColumnState::empty(&oc);
        let t = Instant::now();
        z.merge(&d).unwrap();
        let t5 = t.elapsed();
        let t = Instant::now();
        let q = d.clone().freeze().unwrap().profile();
        let t6 = t.elapsed();
        eprintln!(
            "   cat observe {t1:?} encode {t2:?} decode {t3:?} merge-into-empty {t5:?} profile {t6:?} {:?}",
            q.distinct_count
        );
    }
    let mut a = Categories::empty(4096, 0);
    let b = Categories::empty(1, 0);
    a.merge(&b).unwrap();
}
