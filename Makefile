# Makefile of the banking extension (PGXS).
#
#   make                  build banking.so, the sinks (banking_http.so) and the install script
#   make install          install them into the PostgreSQL of PG_CONFIG (as root or with sudo)
#   make installcheck     SQL and isolation tests against a running server (PGHOST, PGPORT)
#   make test             everything: build, lint and all tests (./runtests)
#   make domain-check     unit and property tests and a short fuzz run, no server needed
#   make fuzz             a long fuzz run (FUZZ_SECONDS each)
#   make lint             architecture, style and static analysis
#   make sanitize         domain tests and fuzzers under ASan/UBSan, a short SQL run under valgrind
#   make bench            benchmarks, printed as ratios
#   make clean
#
# Variables: PG_CONFIG (which PostgreSQL), CURL_CONFIG (which libcurl), WERROR= (let warnings pass
# on a compiler we have not met).

PG_CONFIG ?= pg_config
CURL_CONFIG ?= curl-config

MODULE_big = banking
EXTENSION = banking banking_rest
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" banking.control)
PGFILEDESC = "banking - a bank's ledger"

# The install script: one file per subject, in this order.
SQL_FILES = \
	sql/header.sql \
	sql/schema.sql \
	sql/money.sql \
	sql/events.sql \
	sql/accounts.sql \
	sql/holds.sql \
	sql/principal.sql \
	sql/views.sql \
	sql/commands.sql \
	sql/batch.sql \
	sql/transfers.sql \
	sql/execute.sql \
	sql/approvals.sql \
	sql/queries.sql \
	sql/feed.sql \
	sql/relay.sql \
	sql/subscriptions.sql \
	sql/participants.sql \
	sql/verify.sql \
	sql/privileges.sql

INSTALL_SCRIPT_SQL = banking--$(EXTVERSION).sql

# The same of banking_rest, the REST API.
REST_VERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" banking_rest.control)
REST_SQL_FILES = \
	rest/header.sql \
	rest/schema.sql \
	rest/ports.sql \
	rest/tokens.sql \
	rest/users.sql \
	rest/answers.sql \
	rest/login.sql \
	rest/commands.sql \
	rest/queries.sql \
	rest/graphql.sql \
	rest/roles.sql
REST_SCRIPT_SQL = banking_rest--$(REST_VERSION).sql

DATA = $(wildcard sql/upgrade/banking--*--*.sql)
DATA_built = $(INSTALL_SCRIPT_SQL) $(REST_SCRIPT_SQL)

# Sinks are libraries of their own: src/adapters/sinks/<name> becomes banking_<name>.so.
SOURCES = $(sort $(wildcard src/domain/*.c src/application/*.c src/adapters/*/*.c))
OBJS = $(SOURCES:.c=.o)

# Nobody loads libcurl but who loads the sink.
HTTP_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/adapters/sinks/http/*.c))) src/domain/delivery.o

# What sinks of others are compiled with: -I$(pg_config --includedir-server)/extension/banking
SINK_HEADERS = ports/event_sink.h domain/delivery.h

# PostgreSQL's own headers count as system headers, so that our warnings are about our code.
# Only what PGDLLEXPORT marks leaves the library: servers before 16 do not define it on ELF systems.
WERROR ?= -Werror
PG_CPPFLAGS = -Isrc -DBANK_VERSION='"$(EXTVERSION)"' -isystem $(shell $(PG_CONFIG) --includedir-server)
PG_CFLAGS = -Wall -Wextra $(WERROR) -fvisibility=hidden -MMD -MP

EXTRA_CLEAN = $(OBJS:.o=.d) $(HTTP_OBJS) $(HTTP_OBJS:.o=.d) banking_http.so build

# Each SQL test has a database of its own, which PGXS's rule does not do: scripts/installcheck.
NO_INSTALLCHECK = 1

# Bitcode for JIT inlining would need clang and is of no use to functions that do I/O.
override with_llvm = no

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

-include $(OBJS:.o=.d) $(HTTP_OBJS:.o=.d)

# PGXS builds one library. This is what its rules do for that one.
HTTP_SINK = banking_http$(DLSUFFIX)
SINK_INCLUDEDIR = $(includedir_server)/extension/banking

all: $(HTTP_SINK)

$(filter src/adapters/sinks/%,$(HTTP_OBJS)): override CPPFLAGS += $(shell $(CURL_CONFIG) --cflags)

$(HTTP_SINK): $(HTTP_OBJS)
	$(LINK.shared) -o $@ $(HTTP_OBJS) $(LDFLAGS) $(LDFLAGS_SL) $(shell $(CURL_CONFIG) --libs)

install: install-sinks
install-sinks: $(HTTP_SINK) installdirs
	$(INSTALL_SHLIB) $(HTTP_SINK) '$(DESTDIR)$(pkglibdir)/$(HTTP_SINK)'
	$(MKDIR_P) $(foreach dir,$(sort $(dir $(SINK_HEADERS))),'$(DESTDIR)$(SINK_INCLUDEDIR)/$(dir)')
	$(foreach header,$(SINK_HEADERS),$(INSTALL_DATA) src/$(header) '$(DESTDIR)$(SINK_INCLUDEDIR)/$(header)';)

uninstall: uninstall-sinks
uninstall-sinks:
	rm -f '$(DESTDIR)$(pkglibdir)/$(HTTP_SINK)' $(foreach header,$(SINK_HEADERS),'$(DESTDIR)$(SINK_INCLUDEDIR)/$(header)')

$(INSTALL_SCRIPT_SQL): $(SQL_FILES) banking.control
	cat $(SQL_FILES) > $@.tmp
	mv $@.tmp $@

$(REST_SCRIPT_SQL): $(REST_SQL_FILES) banking_rest.control
	cat $(REST_SQL_FILES) > $@.tmp
	mv $@.tmp $@

# Objects know the server they were compiled for: another PG_CONFIG compiles them anew.
SERVER_STAMP = build/server
SERVER_NOW := $(shell $(PG_CONFIG) --version; $(PG_CONFIG) --includedir-server)
ifneq ($(SERVER_NOW),$(file < $(SERVER_STAMP)))
$(shell mkdir -p build && printf '%s' '$(SERVER_NOW)' > $(SERVER_STAMP))
endif
$(OBJS) $(HTTP_OBJS): $(SERVER_STAMP)

.PHONY: install-sinks uninstall-sinks installcheck test domain-check fuzz lint bench sanitize

installcheck:
	PG_CONFIG='$(PG_CONFIG)' scripts/installcheck

test:
	PG_CONFIG='$(PG_CONFIG)' ./runtests

domain-check:
	$(MAKE) -C test/domain check

FUZZ_SECONDS ?= 600
fuzz:
	$(MAKE) -C test/domain fuzz SECONDS_EACH=$(FUZZ_SECONDS)

lint: all
	scripts/lint

sanitize: all
	scripts/sanitize

bench: all
	bench/run

# What scripts ask this file: make -s print-SQL_FILES
print-%:
	@echo '$($*)'
