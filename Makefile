# Makefile of the banking extension (PGXS).
#
#   make                  build banking.so and the install script
#   make install          install both into the PostgreSQL of PG_CONFIG (as root or with sudo)
#   make installcheck     SQL and isolation tests against a running server (PGHOST, PGPORT)
#   make check            everything: build, lint and all tests (./runtests)
#   make domain-check     unit and property tests and a short fuzz run, no server needed
#   make fuzz             a long fuzz run (FUZZ_SECONDS each)
#   make lint             architecture, style and static analysis
#   make sanitize         domain tests and fuzzers under ASan/UBSan, a short SQL run under valgrind
#   make bench            benchmarks, printed as ratios
#   make clean
#
# Variables: PG_CONFIG (which PostgreSQL), WERROR= (let warnings pass on a compiler we have not met).

PG_CONFIG ?= pg_config

MODULE_big = banking
EXTENSION = banking
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" banking.control)
PGFILEDESC = "banking - a bank's ledger"

# The install script: one file per subject, in this order.
SQL_FILES = \
	sql/header.sql \
	sql/schema.sql \
	sql/money.sql \
	sql/events.sql \
	sql/accounts.sql \
	sql/views.sql \
	sql/commands.sql \
	sql/queries.sql \
	sql/verify.sql

INSTALL_SCRIPT_SQL = $(EXTENSION)--$(EXTVERSION).sql
DATA = $(wildcard sql/upgrade/$(EXTENSION)--*--*.sql)
DATA_built = $(INSTALL_SCRIPT_SQL)

SOURCES = $(sort $(wildcard src/domain/*.c src/application/*.c src/adapters/*/*.c))
OBJS = $(SOURCES:.c=.o)

# PostgreSQL's own headers count as system headers, so that our warnings are about our code.
# Only what PGDLLEXPORT marks leaves the library: servers before 16 do not define it on ELF systems.
WERROR ?= -Werror
PG_CPPFLAGS = -Isrc -isystem $(shell $(PG_CONFIG) --includedir-server)
PG_CFLAGS = -Wall -Wextra $(WERROR) -fvisibility=hidden -MMD -MP

EXTRA_CLEAN = $(OBJS:.o=.d) build

# pg_regress: input in test/, everything it writes in build/
REGRESS = $(sort $(basename $(notdir $(wildcard test/sql/*.sql))))
ISOLATION = $(sort $(basename $(notdir $(wildcard test/specs/*.spec))))
REGRESS_OPTS = --inputdir=test --outputdir=build/regress
ISOLATION_OPTS = --inputdir=test --outputdir=build/isolation

# Bitcode for JIT inlining would need clang and is of no use to functions that do I/O.
override with_llvm = no

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

-include $(OBJS:.o=.d)

$(INSTALL_SCRIPT_SQL): $(SQL_FILES) banking.control
	cat $(SQL_FILES) > $@.tmp
	mv $@.tmp $@
