//! A process's clocks: they drift by up to 1 in 1,000, start anywhere, and the calendar is minutes off.

use std::time::Duration;

use async_trait::async_trait;
use weir::clock::{Clock, Monotonic, Timestamp};

use crate::world::Seat;

pub struct SimClock {
    seat: Seat,
    ppm: i64,
    offset: Duration,
    skew_millis: i64,
}

impl SimClock {
    pub fn new(seat: Seat) -> Self {
        let (ppm, offset, skew_millis) = seat.world.with(|s| {
            let p = &s.procs[seat.pid];
            (p.ppm, p.clock_offset, p.skew_millis)
        });
        Self {
            seat,
            ppm,
            offset,
            skew_millis,
        }
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Monotonic {
        let real = self.seat.world.elapsed().as_nanos() as i128;
        let shown = real + real * i128::from(self.ppm) / 1_000_000;
        Monotonic::from_origin(self.offset + Duration::from_nanos(shown as u64))
    }

    fn wall(&self) -> Timestamp {
        let t = self.seat.world.with(|s| s.wall());
        Timestamp::from_millis(t.millis() + self.skew_millis)
    }

    async fn sleep(&self, d: Duration) {
        // Long enough by this clock too, when it runs slow.
        let nanos = d.as_nanos().min(u128::from(u64::MAX / 4)) as i128;
        let real = nanos * 1_000_000 / (1_000_000 + i128::from(self.ppm)) + 2;
        self.seat.world.pass_time(Duration::from_nanos(real as u64)).await;
        self.seat.point().await;
    }
}
