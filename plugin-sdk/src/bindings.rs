//! What wit-bindgen makes of `wit/v0.1`. Natively the imports are stubs that panic; the module `host` replaces them.

wit_bindgen::generate!({
    path: "wit/v0.1",
    world: "plugin",
    additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
    pub_export_macro: true,
    export_macro_name: "export_bindings",
});
