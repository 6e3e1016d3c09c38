# What the tests take beside the product, asked for before anything is compiled.
set(FFF_TEST_ADVICE
  "install what they take with ./deploy/setup test, or leave them out with -DFFF_BUILD_TESTS=OFF")

# Debian's, whose modules deploy/setup installs.
find_program(FFF_SYSTEM_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH)
if(NOT FFF_SYSTEM_PYTHON)
  message(FATAL_ERROR "The tests need /usr/bin/python3; ${FFF_TEST_ADVICE}")
endif()

find_package(GTest CONFIG QUIET)
find_package(benchmark CONFIG QUIET)
foreach(package GTest benchmark)
  if(NOT ${package}_FOUND)
    message(FATAL_ERROR "The tests need ${package}; ${FFF_TEST_ADVICE}")
  endif()
endforeach()

# grpc_tools makes the stubs while the project is built; the others are for runs.
set(modules pytest numpy yaml grpc google.protobuf prometheus_client grpc_tools)
execute_process(
  COMMAND ${FFF_SYSTEM_PYTHON} -c
    "import importlib.util as u, sys
def there(name):
    try: return u.find_spec(name) is not None
    except ModuleNotFoundError: return False
print(*[m for m in sys.argv[1:] if not there(m)], sep=', ', end='')" ${modules}
  OUTPUT_VARIABLE missing RESULT_VARIABLE result ERROR_VARIABLE error)
if(result)
  message(FATAL_ERROR "The tests need ${FFF_SYSTEM_PYTHON} (${result}${error}); ${FFF_TEST_ADVICE}")
elseif(missing)
  message(FATAL_ERROR "The tests need Python's ${missing}; ${FFF_TEST_ADVICE}")
endif()
