//! explore
use sim::{SECOND, figures::Spread, gossip::Parameters};
use std::time::Duration;
fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    let loss: f64 = a[0].parse().unwrap();
    let nodes: usize = a[1].parse().unwrap();
    let messages: usize = a[2].parse().unwrap();
    for spec in &a[3..] {
        let v: Vec<u64> = spec.split(',').map(|x| x.parse().unwrap()).collect();
        let p = Parameters { mesh: v[0] as usize, low: v[1] as usize, high: v[2] as usize, heartbeat: Duration::from_millis(v[3]), lazy: v[4] as usize, patience: Duration::from_millis(v[5]), flood_publish: v[6] == 1, call_off_bytes: v[7] as usize, outbound_min: v[8] as usize, history_told: v[9] as usize, ..Parameters::PRODUCT };
        let (mut all, mut copies, mut asked) = (vec![], 0.0, 0.0);
        for seed in 1..=3 {
            let m = Spread { seed, nodes, loss, messages, gap: SECOND / 2, reconciliation: nodes <= 100 }.measure(p);
            all.extend(m.everywhere); copies += m.copies / 3.0; asked += m.asked_for / 3.0;
        }
        all.sort_by(f64::total_cmp);
        let q = |x: f64| all[((x * all.len() as f64) as usize).min(all.len() - 1)];
        println!("{spec}: p50 {:.0} p90 {:.0} p95 {:.0} p99 {:.0} max {:.0} copies {copies:.2} asked {asked:.3}", q(0.5), q(0.9), q(0.95), q(0.99), q(1.0));
    }
}
