# Every command a person needs.

UPKEEP ?= cargo run --quiet --package upkeep --

# cargo's folder for WebAssembly: another compiler may be at work there, see `upkeep plugin build --help`.
WASM_TARGET := target/wasm

.PHONY: plugins guests

## The plugins that come with upkeep, in target/plugins
plugins:
	$(UPKEEP) plugin build plugins --out target/plugins --target-dir $(WASM_TARGET) --install

## The plugins that test the host, in target/guests
guests:
	$(UPKEEP) plugin build tests/guests --out target/guests --target-dir $(WASM_TARGET) --install
	$(UPKEEP) plugin build tests/guests/many-memories --component tests/guests/many-memories/component.wat --out target/guests
