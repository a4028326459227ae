//! The trait of a task that has a configuration and steps.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::bindings::exports::upkeep::plugin::task::Context;
use crate::{Report, Result};

/// A task: the type that implements it is the task's configuration.
///
/// The host calls [`plan`](Task::plan) once, [`execute`](Task::execute) once per step, and [`finish`](Task::finish)
/// once. Each call has a fresh instance: nothing is left in memory from one to the next. Steps run in parallel, in any
/// order, and after a crash possibly again, so a step should be written such that doing it twice does no harm.
///
/// The doc comments of the fields become the descriptions in the manifest, `#[serde(default)]` the defaults.
///
/// ```
/// use schemars::JsonSchema;
/// use serde::Deserialize;
/// use upkeep_plugin::{Context, Outcome, Report, Result, Step, Task};
///
/// /// Adds up numbers, one step for each list.
/// #[derive(Deserialize, JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct Sum {
///     /// The lists.
///     lists: Vec<Vec<u64>>,
/// }
///
/// impl Task for Sum {
///     type Input = Vec<u64>;
///     type Output = u64;
///
///     fn plan(&self, _: &Context) -> Result<Vec<Step<Vec<u64>>>> {
///         let steps = self.lists.iter().enumerate();
///         Ok(steps.map(|(i, list)| Step::new(format!("list-{i}"), list.clone()).weight(list.len() as u64)).collect())
///     }
///
///     fn execute(&self, _: &Context, step: Step<Vec<u64>>) -> Result<u64> {
///         Ok(step.input.iter().sum())
///     }
///
///     fn finish(&self, _: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
///         let total: u64 = outcomes.iter().filter_map(|it| it.output.as_ref().ok()).sum();
///         Ok(Report::new(format!("the sum is {total}")))
///     }
/// }
///
/// upkeep_plugin::export!(Sum);
///
/// # fn main() -> Result<()> {
/// // On the author's machine the same task runs in the in-memory host.
/// let report = upkeep_plugin::test::Host::new().run(upkeep_plugin::task::<Sum>(), r#"{"lists": [[1, 2], [3]]}"#)?;
/// assert_eq!(report.summary, "the sum is 6");
/// # Ok(())
/// # }
/// ```
pub trait Task: DeserializeOwned + JsonSchema {
    /// What a step needs to know besides the configuration; `()` when a step needs nothing.
    type Input: Serialize + DeserializeOwned;
    /// What a step hands to [`finish`](Task::finish); `()` when nothing.
    type Output: Serialize + DeserializeOwned;

    /// What would be done. It must do nothing itself: `--dry-run` calls only this. A task without parts returns
    /// `Ok(vec![Step::only(input)])`.
    ///
    /// # Errors
    /// What the run shall fail with.
    fn plan(&self, ctx: &Context) -> Result<Vec<Step<Self::Input>>>;

    /// Does one step.
    ///
    /// # Errors
    /// What the step shall fail with.
    fn execute(&self, ctx: &Context, step: Step<Self::Input>) -> Result<Self::Output>;

    /// Sums the run up; called also when steps failed. Left out, it counts the steps and names those that failed.
    ///
    /// # Errors
    /// What the run shall fail with.
    fn finish(&self, ctx: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        let _ = ctx;
        Ok(sum_up(&outcomes))
    }
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<I = ()> {
    /// Unique within the run.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// Share of the run's work, in any unit: it scales the progress bar.
    pub weight: u64,
    /// What [`Task::plan`] put there for [`Task::execute`].
    pub input: I,
}

impl<I> Step<I> {
    /// A step of weight 1 whose title is its identifier.
    pub fn new(id: impl Into<String>, input: I) -> Self {
        let id = id.into();
        Self { title: id.clone(), id, weight: 1, input }
    }

    /// The step of a task without parts.
    pub fn only(input: I) -> Self {
        Self::new("run", input)
    }

    /// Sets the line for people.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets the share of the run's work.
    #[must_use]
    pub fn weight(mut self, weight: u64) -> Self {
        self.weight = weight;
        self
    }
}

/// What became of one step.
#[derive(Debug)]
pub struct Outcome<T: Task> {
    /// The step as it was planned.
    pub step: Step<T::Input>,
    /// What it returned, or why there is nothing, as one line.
    pub output: std::result::Result<T::Output, String>,
}

fn sum_up<T: Task>(outcomes: &[Outcome<T>]) -> Report {
    let failed: Vec<String> = outcomes
        .iter()
        .filter_map(|it| it.output.as_ref().err().map(|why| format!("{}: {why}", it.step.title)))
        .collect();
    let count = match outcomes.len() {
        1 => "1 step".to_owned(),
        n => format!("{n} steps"),
    };
    if failed.is_empty() {
        Report::new(format!("{count} done"))
    } else {
        let list: String = failed.iter().map(|line| format!("- {line}\n")).collect();
        Report::new(format!("{} of {count} failed: {}", failed.len(), failed.join("; "))).text(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::test::Host;

    /// Fails on odd numbers.
    #[derive(serde::Deserialize, JsonSchema)]
    struct Even(Vec<u32>);

    impl Task for Even {
        type Input = u32;
        type Output = ();

        fn plan(&self, _: &Context) -> Result<Vec<Step<u32>>> {
            Ok(self.0.iter().map(|&number| Step::new(number.to_string(), number)).collect())
        }

        fn execute(&self, _: &Context, step: Step<u32>) -> Result<()> {
            if step.input.is_multiple_of(2) { Ok(()) } else { Err(Error::permanent("odd")) }
        }
    }

    #[test]
    fn the_sum_counts_steps_and_names_those_that_failed() {
        let outcome = |id: &str, output| Outcome::<Even> { step: Step::new(id, 0), output };
        let good = sum_up(&[outcome("2", Ok(()))]);
        assert_eq!((good.summary.as_str(), good.text.as_str()), ("1 step done", ""));
        let bad = sum_up(&[outcome("1", Err("odd".into())), outcome("2", Ok(())), outcome("3", Err("odd".into()))]);
        assert_eq!(bad.summary, "2 of 3 steps failed: 1: odd; 3: odd");
        assert_eq!(bad.text, "- 1: odd\n- 3: odd\n");
    }

    #[test]
    fn a_run_fails_as_its_first_failed_step_and_on_a_wrong_configuration() {
        let run = |config| Host::new().run(crate::task::<Even>(), config);
        assert_eq!(run("[2, 4]").unwrap().summary, "2 steps done");
        assert_eq!(run("[2, 3]"), Err(Error::permanent("odd")));
        assert!(matches!(run("{}"), Err(Error::Config(_))));
    }
}
