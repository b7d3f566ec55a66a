mod policy_build;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let b = policy_build::build(a[1].as_ref()).unwrap();
    std::fs::write(&a[2], b).unwrap();
}
