// Of a program that runs by itself, such as a fuzzer: the options that
// FffTargets.cmake gives to tests, for an Abseil that knows no
// AddressSanitizer.
extern "C" const char* __asan_default_options();  // of the runtime

extern "C" const char* __asan_default_options() {
  return "allow_user_poisoning=0";
}
