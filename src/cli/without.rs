//! `sandbox run --without KEY`: what does this wall hold? A process in the whole container and one in the container without
//! the key look at the same files; what differs is what comes back.

use super::prepare;
use super::telling::Telling;
use crate::config::compose::Ending;
use crate::config::spec::Spec;
use crate::error::Result;
use crate::exec::Unwatched;
use crate::feature::Purpose;
use crate::render;
use crate::teach::agent::Agent;
use crate::text::text_with;
use crate::views::{OnePath, returned};
use crate::views::{Readings, look};

/// Looks from inside of both, and tells what differs. Where one of them can't be had here, that is told: the run itself may
/// still be possible.
pub(super) fn tell(whole: &Spec, less: &Spec, keys: &[String], telling: &Telling) {
    let name = keys.join(", ");
    let words = match rows(whole, less, keys) {
        Ok(rows) if telling.is_json() => render::json(&rows),
        Ok(rows) => render::view::returned(&rows, &name),
        Err(error) => {
            let values = [("key", name.as_str()), ("why", &error.what)];
            format!("sandbox: {}\n", text_with("run.returned.cannot", &values))
        }
    };
    render::err(&words);
}

fn rows(whole: &Spec, less: &Spec, keys: &[String]) -> Result<Vec<OnePath>> {
    let outside = look(Purpose::Container);
    let (with, without) = (sight(whole)?, sight(less)?);
    Ok(returned(&outside, &with, &without, keys))
}

/// What a process sees in a container of this spec.
fn sight(spec: &Spec) -> Result<Readings> {
    let spec = Spec { name: None, tty: false, ..spec.clone() };
    let (plan, _) = prepare::plan(spec, |_, _| Ok(Ending::Demonstration), false)?;
    let agent = Agent::start(&plan, &mut Unwatched)?;
    let mut sight = agent.look(Purpose::Container)?;
    sight.read_limits(Purpose::Container, agent.pid());
    agent.end()?;
    Ok(sight)
}
