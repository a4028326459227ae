//! The JSON Schema of a plugin's configuration, asked from its core module when it is built.
//!
//! The SDK's `export!` leaves a function in the module that returns the schema which schemars derives from the
//! configuration's type. It is called here once, with every import a trap and with a bound on its work; the daemon
//! reads the schema from the manifest and never calls it.

use serde_json::Value;
use wasmtime::{Config, Engine, Linker, Module, OptLevel, Store};

/// What the SDK calls the function: no arguments; address in the upper half of the result, length in the lower.
const EXPORT: &str = "upkeep_config_schema";

/// Where a plugin of another toolchain keeps its schema, beside `plugin.toml`.
pub const FILE: &str = "config.schema.json";

/// A schema takes some thousand instructions to make.
const FUEL: u64 = 1_000_000_000;

/// Why there is no schema.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The function failed.
    #[error("the schema of the configuration cannot be read: {0}")]
    Call(String),
    /// What came is no schema.
    #[error("the schema of the configuration is none: {0}")]
    Text(String),
}

/// The schema that a core module holds, or none when the plugin takes no configuration.
///
/// # Errors
/// When the module is damaged, or its function traps or gives no schema.
pub fn of_module(module: &[u8]) -> Result<Option<Value>, SchemaError> {
    match call(module).map_err(|error| SchemaError::Call(format!("{error:#}")))? {
        Some(text) => of_text(&text).map(Some),
        None => Ok(None),
    }
}

/// The schema in a text. Unknown keys are refused wherever the schema leaves that open: a key that nobody reads is a
/// mistake of whoever wrote it.
///
/// # Errors
/// When the text is no JSON object.
pub fn of_text(text: &[u8]) -> Result<Value, SchemaError> {
    let mut schema: Value = serde_json::from_slice(text).map_err(|error| SchemaError::Text(error.to_string()))?;
    if !schema.is_object() {
        return Err(SchemaError::Text("it must be a JSON object".to_owned()));
    }
    close(&mut schema);
    Ok(schema)
}

fn call(module: &[u8]) -> wasmtime::Result<Option<Vec<u8>>> {
    let engine = Engine::new(Config::new().consume_fuel(true).cranelift_opt_level(OptLevel::None))?;
    let module = Module::new(&engine, module)?;
    if module.get_export(EXPORT).is_none() {
        return Ok(None);
    }
    let mut linker = Linker::new(&engine);
    linker.define_unknown_imports_as_traps(&module)?;
    let mut store = Store::new(&engine, ());
    store.set_fuel(FUEL)?;
    let instance = linker.instantiate(&mut store, &module)?;
    let place = instance.get_typed_func::<(), u64>(&mut store, EXPORT)?.call(&mut store, ())?;
    if place == 0 {
        return Ok(None);
    }
    let (address, length) = ((place >> 32) as usize, (place & 0xffff_ffff) as usize);
    let memory = instance.get_memory(&mut store, "memory").and_then(|it| it.data(&store).get(address..)?.get(..length));
    memory.map(|it| Some(it.to_vec())).ok_or_else(|| wasmtime::Error::msg("it lies outside of the memory"))
}

/// Objects that are put together (`allOf` and the like) stay open: each part would refuse the keys of the others.
fn close(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    let composed = ["allOf", "anyOf", "oneOf", "$ref", "if"].iter().any(|it| object.contains_key(*it));
    if !composed && object.contains_key("properties") && !object.contains_key("additionalProperties") {
        object.insert("additionalProperties".to_owned(), false.into());
    }
    for group in ["properties", "$defs"] {
        object.get_mut(group).and_then(Value::as_object_mut).into_iter().flat_map(|it| it.values_mut()).for_each(close);
    }
    for single in ["items", "additionalProperties"] {
        object.get_mut(single).into_iter().for_each(close);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wat(result: &str) -> Vec<u8> {
        let text = format!(
            r#"(module (import "x" "y" (func)) (memory (export "memory") 1)
                 (data (i32.const 16) "{{\"type\":\"object\",\"properties\":{{\"a\":{{}}}}}}")
                 (func (export "upkeep_config_schema") (result i64) {result}))"#
        );
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn a_module_tells_its_schema_and_unknown_keys_are_refused() {
        let schema = of_module(&wat("(i64.const 0x0000_0010_0000_0027)")).unwrap();
        let expected = r#"{"type":"object","properties":{"a":{}},"additionalProperties":false}"#;
        assert_eq!(schema, Some(serde_json::from_str(expected).unwrap()));
        assert_eq!(of_module(&wat("(i64.const 0)")).unwrap(), None);
        assert_eq!(of_module(b"\0asm\x01\0\0\0").unwrap(), None);
    }

    #[test]
    fn a_module_that_misbehaves_is_an_error() {
        for result in
            ["unreachable", "(loop $l br $l) unreachable", "(i64.const -1)", "(i64.const 0x0000_0010_0000_0003)"]
        {
            assert!(of_module(&wat(result)).is_err(), "{result}");
        }
    }

    #[test]
    fn objects_that_are_put_together_stay_open() {
        let text = br#"{"properties":{"a":{"properties":{"b":{}}}},"allOf":[{"properties":{"c":{}}}]}"#;
        let schema = of_text(text).unwrap();
        assert!(schema.get("additionalProperties").is_none());
        assert_eq!(schema["properties"]["a"]["additionalProperties"], false);
        assert!(schema["allOf"][0].get("additionalProperties").is_none());
    }
}
