//! From the exported functions, which carry JSON, to a typed task and back. `export!` is the only user besides tests.
//!
//! A task is either a type that implements [`Task`] or a function. What a plugin does not use, it does not carry: a
//! function without configuration that returns `()` brings neither serde_json nor schemars into the component.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::bindings::exports::upkeep::plugin::task as wit;
use crate::{Context, Error, Outcome, Report, Result, Step, Task};

/// A task as the host sees it. Made by [`task`] and [`function`].
pub trait Entry {
    #[doc(hidden)]
    fn plan(&self, ctx: &Context, config: &str) -> Result<Vec<wit::Step>>;
    #[doc(hidden)]
    fn execute(&self, ctx: &Context, config: &str, step: wit::Step) -> Result<String>;
    #[doc(hidden)]
    fn finish(&self, ctx: &Context, config: &str, outcomes: Vec<wit::Outcome>) -> Result<Report>;
    #[doc(hidden)]
    fn schema(&self) -> Option<String>;
}

/// The task that the type `T` is.
pub fn task<T: Task>() -> impl Entry {
    Typed::<T>(PhantomData)
}

/// The task that a function is: one step, whose result is the report.
///
/// The function is `fn(&Context) -> Result<R>` or, with a configuration, `fn(&Context, C) -> Result<R>`; `R` is `()`,
/// `&'static str`, `String` (the one line of the report) or [`Report`].
///
/// ```
/// use upkeep_plugin::{Context, Result, function, info, test};
///
/// fn hello(ctx: &Context) -> Result<String> {
///     info!("this is run {}", ctx.run);
///     Ok(format!("hello from {}", ctx.host))
/// }
///
/// # fn main() -> Result<()> {
/// let report = test::Host::new().run(function(hello), "{}")?;
/// assert_eq!(report.summary, "hello from test");
/// # Ok(())
/// # }
/// ```
pub fn function<F: Call<A>, A>(function: F) -> impl Entry {
    Function(function, PhantomData)
}

struct Typed<T>(PhantomData<T>);

impl<T: Task> Entry for Typed<T> {
    fn plan(&self, ctx: &Context, config: &str) -> Result<Vec<wit::Step>> {
        let steps = parse_config::<T>(config)?.plan(ctx)?;
        steps
            .into_iter()
            .map(|Step { id, title, weight, input }| {
                let input = serde_json::to_string(&input)?;
                Ok(wit::Step { id, title, weight, input })
            })
            .collect()
    }

    fn execute(&self, ctx: &Context, config: &str, step: wit::Step) -> Result<String> {
        let output = parse_config::<T>(config)?.execute(ctx, typed_step(step)?)?;
        Ok(serde_json::to_string(&output)?)
    }

    fn finish(&self, ctx: &Context, config: &str, outcomes: Vec<wit::Outcome>) -> Result<Report> {
        let outcomes = outcomes
            .into_iter()
            .map(|outcome| {
                let step = typed_step(outcome.step)?;
                let output = match outcome.output {
                    Ok(json) => Ok(serde_json::from_str(&json)?),
                    Err(why) => Err(why),
                };
                Ok(Outcome { step, output })
            })
            .collect::<Result<_>>()?;
        parse_config::<T>(config)?.finish(ctx, outcomes)
    }

    fn schema(&self) -> Option<String> {
        Some(schema_of::<T>())
    }
}

fn typed_step<I: DeserializeOwned>(step: wit::Step) -> Result<Step<I>> {
    let wit::Step { id, title, weight, input } = step;
    Ok(Step { id, title, weight, input: serde_json::from_str(&input)? })
}

fn parse_config<T: DeserializeOwned>(config: &str) -> Result<T> {
    serde_json::from_str(config).map_err(|error| Error::config(format!("the configuration does not fit: {error}")))
}

fn schema_of<T: JsonSchema>() -> String {
    schemars::schema_for!(T).as_value().to_string()
}

struct Function<F, A>(F, PhantomData<A>);

/// A function that can be a task; see [`function`]. `A` only tells the shapes apart.
pub trait Call<A> {
    #[doc(hidden)]
    type Reply: Reply;
    #[doc(hidden)]
    fn call(&self, ctx: &Context, config: &str) -> Result<Self::Reply>;
    #[doc(hidden)]
    fn schema() -> Option<String>;
}

impl<F: Fn(&Context) -> Result<R>, R: Reply> Call<(R,)> for F {
    type Reply = R;

    fn call(&self, ctx: &Context, _: &str) -> Result<R> {
        self(ctx)
    }

    fn schema() -> Option<String> {
        None
    }
}

impl<F: Fn(&Context, C) -> Result<R>, C: DeserializeOwned + JsonSchema, R: Reply> Call<(C, R)> for F {
    type Reply = R;

    fn call(&self, ctx: &Context, config: &str) -> Result<R> {
        self(ctx, parse_config(config)?)
    }

    fn schema() -> Option<String> {
        Some(schema_of::<C>())
    }
}

impl<F: Call<A>, A> Entry for Function<F, A> {
    fn plan(&self, ctx: &Context, _: &str) -> Result<Vec<wit::Step>> {
        Ok(vec![wit::Step { id: "run".to_owned(), title: ctx.task.clone(), weight: 1, input: "null".to_owned() }])
    }

    fn execute(&self, ctx: &Context, config: &str, _: wit::Step) -> Result<String> {
        self.0.call(ctx, config)?.to_json()
    }

    fn finish(&self, _: &Context, _: &str, outcomes: Vec<wit::Outcome>) -> Result<Report> {
        match outcomes.into_iter().next().map(|it| it.output) {
            Some(Ok(json)) => F::Reply::from_json(&json),
            Some(Err(why)) => Ok(Report::new(why)),
            None => Ok(Report::new("nothing was done")),
        }
    }

    fn schema(&self) -> Option<String> {
        F::schema()
    }
}

/// What a function that is a task may return.
pub trait Reply: Sized {
    #[doc(hidden)]
    fn to_json(self) -> Result<String>;
    #[doc(hidden)]
    fn from_json(json: &str) -> Result<Report>;
}

impl Reply for () {
    fn to_json(self) -> Result<String> {
        Ok("null".to_owned())
    }

    fn from_json(_: &str) -> Result<Report> {
        Ok(Report::new("done"))
    }
}

impl Reply for String {
    fn to_json(self) -> Result<String> {
        Ok(serde_json::to_string(&self)?)
    }

    fn from_json(json: &str) -> Result<Report> {
        Ok(Report::new(serde_json::from_str::<String>(json)?))
    }
}

impl Reply for &'static str {
    fn to_json(self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    fn from_json(json: &str) -> Result<Report> {
        String::from_json(json)
    }
}

impl Reply for Report {
    fn to_json(self) -> Result<String> {
        Ok(serde_json::to_string(&self)?)
    }

    fn from_json(json: &str) -> Result<Report> {
        Ok(serde_json::from_str(json)?)
    }
}
