use upkeep_plugin::{Context, Result, info};

fn hello(ctx: &Context) -> Result<()> {
    info!("Hello, {}!", ctx.host);
    Ok(())
}

upkeep_plugin::export!(fn hello);
