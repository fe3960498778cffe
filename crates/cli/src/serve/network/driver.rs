//! Polls a connection until a timeout is exceeded, with one timer for all timeouts.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll, Waker},
};

use tokio::{task::coop::has_budget_remaining, time::sleep_until};

use super::{
    activity::{Order, Overdue, Timeouts},
    limit::Permit,
};

/// Polls until it is ready, a timeout is exceeded, or the connection has to be closed, which is `None`.
///
/// The timer is seldom set or polled: only when a deadline comes sooner than the one it is set to, and when that has
/// passed. The body of a request that takes too long is given up instead, so that the request is answered.
pub(super) async fn until_due<T>(
    permit: &Permit,
    timeouts: &Timeouts,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Result<T, Option<Overdue>> {
    let mut set_to = permit
        .now()
        .saturating_add(u64::try_from(timeouts.idle.as_millis()).unwrap_or(u64::MAX));
    let mut timer = pin!(sleep_until(permit.at(set_to)));
    let mut timer_runs = false;
    let mut driver: Option<Waker> = None;
    poll_fn(|cx| {
        if !driver
            .as_ref()
            .is_some_and(|driver| driver.will_wake(cx.waker()))
        {
            permit.driven_by(cx.waker());
            driver = Some(cx.waker().clone());
            timer_runs = false;
        }
        loop {
            if permit.order() == Order::Close {
                return Poll::Ready(Err(None));
            }
            if let Poll::Ready(done) = poll(cx) {
                return Poll::Ready(Ok(done));
            }
            let now = permit.now();
            let Some((at, overdue)) = permit.deadline(now, timeouts) else {
                return Poll::Pending;
            };
            match overdue {
                _ if now < at => {}
                Overdue::Body => {
                    permit.give_up_body();
                    continue;
                }
                _ => return Poll::Ready(Err(Some(overdue))),
            }
            if at < set_to || set_to <= now {
                set_to = at;
                timer.as_mut().reset(permit.at(at));
                timer_runs = false;
            }
            if !timer_runs {
                // A timer that is polled without a budget does not run, and wakes the task instead.
                let may_run = has_budget_remaining();
                if timer.as_mut().poll(cx).is_ready() {
                    continue;
                }
                timer_runs = may_run;
            }
            return Poll::Pending;
        }
    })
    .await
}
