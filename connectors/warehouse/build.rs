//! Migrations are compiled in. Cargo doesn't notice a new file among them by itself.

fn main() {
    println!("cargo:rerun-if-changed=../../sql/migrations");
}
