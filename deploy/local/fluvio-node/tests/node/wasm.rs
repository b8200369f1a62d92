//! Small handwritten SmartModules.
//!
//! Their input is the base offset (8 bytes), the length of the records (4), the records (their
//! number in 4 bytes, then each), and the base timestamp (8). Their output is the number of
//! records, the records, and a byte that is 0 without an error.

use fluvio::consumer::{SmartModuleInvocation, SmartModuleInvocationWasm};
use fluvio::metadata::smartmodule::{SmartModuleSpec, SmartModuleWasm};
use fluvio_protocol::Encoder;
use fluvio_protocol::link::smartmodule::SmartModuleTransformRuntimeError;
use fluvio_protocol::record::Record;
use fluvio_smartmodule::dataplane::smartmodule::SmartModuleOutput;

fn module(exports: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "env" "copy_records" (func $put_out (param i32 i32)))
            (memory (export "memory") 512)
            (func (export "alloc") (param i32) (result i32) (i32.const 4096))
            (func $big_endian (param $at i32) (result i32)
                (i32.or
                    (i32.or
                        (i32.shl (i32.load8_u (local.get $at)) (i32.const 24))
                        (i32.shl (i32.load8_u offset=1 (local.get $at)) (i32.const 16)))
                    (i32.or
                        (i32.shl (i32.load8_u offset=2 (local.get $at)) (i32.const 8))
                        (i32.load8_u offset=3 (local.get $at)))))
            {exports})"#
    );
    wat::parse_str(text).unwrap()
}

const IDENTITY: &str = r#"
    (func (export "map") (param $in i32) (param i32 i32) (result i32)
        (local $len i32)
        (local.set $len (call $big_endian (i32.add (local.get $in) (i32.const 8))))
        (i32.store8 offset=12 (i32.add (local.get $in) (local.get $len)) (i32.const 0))
        (call $put_out
            (i32.add (local.get $in) (i32.const 12))
            (i32.add (local.get $len) (i32.const 1)))
        (i32.const 0))"#;

/// Returns every record unchanged.
pub fn identity() -> Vec<u8> {
    module(IDENTITY)
}

/// Like [`identity`], but fails unless it looks back on three records.
pub fn identity_with_three_to_look_back_on() -> Vec<u8> {
    module(&format!(
        r#"(func (export "look_back") (param $in i32) (param i32 i32) (result i32)
            (if (result i32)
                (i32.eq (i32.const 3) (call $big_endian (i32.add (local.get $in) (i32.const 12))))
                (then (i32.const 0)) (else (i32.const -1))))
        {IDENTITY}"#
    ))
}

/// Returns the records of each batch twice.
pub fn twice() -> Vec<u8> {
    module(
        r#"(func (export "array_map") (param $in i32) (param i32 i32) (result i32)
            (local $len i32) (local $count i32)
            (local.set $len (i32.sub
                (call $big_endian (i32.add (local.get $in) (i32.const 8))) (i32.const 4)))
            (local.set $count (i32.mul (i32.const 2)
                (call $big_endian (i32.add (local.get $in) (i32.const 12)))))
            (i32.store8 (i32.const 16777216) (i32.shr_u (local.get $count) (i32.const 24)))
            (i32.store8 (i32.const 16777217) (i32.shr_u (local.get $count) (i32.const 16)))
            (i32.store8 (i32.const 16777218) (i32.shr_u (local.get $count) (i32.const 8)))
            (i32.store8 (i32.const 16777219) (local.get $count))
            (memory.copy (i32.const 16777220)
                (i32.add (local.get $in) (i32.const 16)) (local.get $len))
            (memory.copy (i32.add (i32.const 16777220) (local.get $len))
                (i32.add (local.get $in) (i32.const 16)) (local.get $len))
            (i32.store8 (i32.add (i32.const 16777220) (i32.mul (i32.const 2) (local.get $len)))
                (i32.const 0))
            (call $put_out (i32.const 16777216)
                (i32.add (i32.const 5) (i32.mul (i32.const 2) (local.get $len))))
            (i32.const 0))"#,
    )
}

/// Returns no record.
pub fn nothing() -> Vec<u8> {
    module(
        r#"(func (export "filter") (param i32 i32 i32) (result i32)
            (call $put_out (i32.const 0) (i32.const 5))
            (i32.const 0))"#,
    )
}

/// Returns the error `refused` and no record.
pub fn error() -> Vec<u8> {
    let refuse = refuse(Vec::new());
    module(&format!(
        r#"{refuse} (func (export "map") (param i32 i32 i32) (result i32) (call $refuse))"#
    ))
}

/// The text of a function that returns the records and then the error `refused`.
fn refuse(before: Vec<Record>) -> String {
    let error = SmartModuleTransformRuntimeError {
        hint: "refused".to_owned(),
        ..Default::default()
    };
    let output = SmartModuleOutput::with_error(before, Some(error));
    let mut bytes = Vec::new();
    output.encode(&mut bytes, 25).unwrap();
    let data: String = bytes.iter().map(|it| format!("\\{it:02x}")).collect();
    format!(
        r#"(data (i32.const 1024) "{data}")
        (func $refuse (result i32)
            (call $put_out (i32.const 1024) (i32.const {}))
            (i32.const 0))"#,
        bytes.len()
    )
}

/// The behaviour of a SmartModule for a batch.
#[derive(Debug, Clone, Copy)]
pub enum With {
    /// Returns each record unchanged.
    Pass,
    /// Returns no record.
    Drop,
    /// Returns one record, `before`, then the error `refused`.
    Refuse,
    Trap,
}

/// Behaves differently for the batch at offset 0 and for all others.
pub fn by_batch(first: With, others: With) -> Vec<u8> {
    let identity = IDENTITY.replace(r#"(export "map")"#, "$identity");
    let refuse = refuse(vec![Record::new("before")]);
    let [first, others] = [first, others].map(|it| match it {
        With::Pass => "(call $identity (local.get $in) (i32.const 0) (i32.const 0))",
        With::Drop => "(call $put_out (i32.const 0) (i32.const 5)) (i32.const 0)",
        With::Refuse => "(call $refuse)",
        With::Trap => "unreachable",
    });
    module(&format!(
        r#"{identity} {refuse}
        (func (export "map") (param $in i32) (param i32 i32) (result i32)
            (if (result i32) (i64.eqz (i64.load (local.get $in)))
                (then {first}) (else {others})))"#
    ))
}

/// Requests more memory than an SPU allows.
pub fn too_much_memory() -> Vec<u8> {
    wat::parse_str(
        r#"(module
            (memory (export "memory") 20000)
            (func (export "alloc") (param i32) (result i32) (i32.const 4096))
            (func (export "map") (param i32 i32 i32) (result i32) (i32.const 0)))"#,
    )
    .unwrap()
}

/// Traps.
pub fn trap() -> Vec<u8> {
    module(r#"(func (export "map") (param i32 i32 i32) (result i32) unreachable)"#)
}

/// Like [`identity`], but fails without parameters, which it recognizes by their encoded length.
pub fn identity_with_parameters() -> Vec<u8> {
    module(&format!(
        r#"(func (export "init") (param i32) (param $len i32) (param i32) (result i32)
            (if (result i32) (i32.gt_u (local.get $len) (i32.const 8))
                (then (i32.const 0)) (else (i32.const -1))))
        {IDENTITY}"#
    ))
}

pub fn ad_hoc(wasm: &[u8]) -> SmartModuleInvocation {
    SmartModuleInvocation {
        wasm: SmartModuleInvocationWasm::adhoc_from_bytes(wasm).unwrap(),
        ..Default::default()
    }
}

pub fn by_name(name: &str) -> SmartModuleInvocation {
    SmartModuleInvocation {
        wasm: SmartModuleInvocationWasm::Predefined(name.to_owned()),
        ..Default::default()
    }
}

/// Returns the spec that `fluvio smartmodule create` sends.
pub fn spec(wasm: &[u8]) -> SmartModuleSpec {
    let SmartModuleInvocationWasm::AdHoc(gzipped) = ad_hoc(wasm).wasm else {
        unreachable!()
    };
    SmartModuleSpec {
        wasm: SmartModuleWasm::from_compressed_gzip(gzipped),
        ..Default::default()
    }
}
