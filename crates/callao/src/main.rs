//! The binary: hands the process over to the library.

fn main() -> std::process::ExitCode {
    callao::main_impl()
}
