# banger: `make` builds the programs into build/bin; `make help` lists the rest.
#
#   B=DIR        where to build (build)
#   CC=clang     the compiler (gcc)
#   SAN=address,undefined   sanitizers, for a build directory of its own
#   COVERAGE=DIR gcov's counters, left in DIR by what is built (scripts/coverage)
#   EPOCHS=0     what older kernels can do, also on one that can keep names of guests' files (fsd/fuse/ops.c)
#   WERROR=1     warnings are errors (what scripts/check does)

B       ?= build
CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))
MUSL_CC ?= musl-gcc
OPT     ?= -O2
VERSION := $(shell cat VERSION)

WARN   := -Wall -Wextra -Wshadow -Wformat=2 -Wvla -Wmissing-prototypes -Wstrict-prototypes -Wundef -Wpointer-arith
CFLAGS := -std=gnu17 $(OPT) -g $(WARN) $(if $(WERROR),-Werror) -fno-common -fstack-protector-strong -pthread \
          $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=undefined,-D_FORTIFY_SOURCE=2 -fPIE) \
          $(if $(COVERAGE),--coverage -fprofile-update=atomic -fprofile-abs-path)
CPPFLAGS = -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -Ifsd -include banger/banned.h -DBANGER_VERSION='"$(VERSION)"' \
          -DFUSE_USE_VERSION=314 $(if $(EPOCHS),-DEPOCHS=$(EPOCHS)) -MMD -MP
LDFLAGS := -pthread $(if $(SAN),-fsanitize=$(SAN),-pie -Wl,-z,relro,-z,now)

# What each part links with; a room of fsd may use the rooms to the right of it, and the linker holds it to that.
ROOMS := fuse tree vm engine repo guest offline image registry kernel net job store
DEPS_store  :=
DEPS_job    :=
DEPS_net    := job store
DEPS_kernel := job store
DEPS_image  := job store
DEPS_registry := job store
DEPS_repo   := guest job store
DEPS_guest  := job store
DEPS_offline := image job store
DEPS_engine := guest kernel net job store
DEPS_vm     := engine repo guest offline image registry kernel net job store
DEPS_tree   := vm $(DEPS_vm)
DEPS_fuse   := tree $(DEPS_tree)

PKGS_fsd    := fuse3 sqlite3 libarchive ext2fs com_err json-c libsystemd libcrypto libseccomp zlib libzstd libcurl
PKGS_helper := libnl-3.0 libnl-route-3.0 libnftables libcap libseccomp devmapper
PKGS_ctl    := json-c
pkgs = $(shell pkg-config --$(1) $(2))

FSD_CFLAGS    := $(call pkgs,cflags,$(PKGS_fsd))
FSD_LIBS      := $(call pkgs,libs,$(PKGS_fsd)) -lresolv
HELPER_CFLAGS := $(call pkgs,cflags,$(PKGS_helper))
HELPER_LIBS   := $(call pkgs,libs,$(PKGS_helper))
CTL_CFLAGS    := $(call pkgs,cflags,$(PKGS_ctl))
CTL_LIBS      := $(call pkgs,libs,$(PKGS_ctl))

PROGRAMS := $(addprefix $(B)/bin/,banger banger-fsd banger-helper banger-guest)

.PHONY: all clean help install format
all: $(PROGRAMS)

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
LIB_SRC    := $(wildcard lib/*.c)
HELPER_SRC := $(filter-out helper/main.c helper/reaper.c,$(wildcard helper/*.c))
CTL_SRC    := $(filter-out ctl/main.c,$(wildcard ctl/*.c))
GUEST_SRC  := $(wildcard guest/*.c)
room_src = $(wildcard fsd/$(1)/*.c)
room_lib = $(B)/lib/$(1).a

$(B)/obj/fsd/%.o: CPPFLAGS += $(FSD_CFLAGS)
$(B)/obj/helper/%.o: CPPFLAGS += $(HELPER_CFLAGS)
$(B)/obj/ctl/%.o: CPPFLAGS += $(CTL_CFLAGS)
$(B)/obj/tests/%.o: CPPFLAGS += $(FSD_CFLAGS) $(HELPER_CFLAGS) $(CTL_CFLAGS) -I. -Ihelper -Ictl -Iguest -Itests

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC      $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

define archive
	@mkdir -p $(@D)
	@echo "  AR      $@"
	@rm -f $@ && ar rcs $@ $^
endef

$(B)/lib/banger.a: $(call obj,$(LIB_SRC))
	$(archive)
$(B)/lib/helper.a: $(call obj,$(HELPER_SRC)) $(B)/obj/helper/reaper-image.o
	$(archive)
$(B)/lib/ctl.a: $(call obj,$(CTL_SRC))
	$(archive)
define room_rule
$(call room_lib,$(1)): $(call obj,$(call room_src,$(1)))
	$$(archive)
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$(r))))

define link
	@mkdir -p $(@D)
	@echo "  LD      $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)
endef

$(B)/bin/banger: LIBS := $(CTL_LIBS)
$(B)/bin/banger: $(B)/obj/ctl/main.o $(B)/lib/ctl.a $(call room_lib,net) $(B)/lib/banger.a
	$(link)
FSD_PARTS    := $(B)/obj/fsd/main.o $(B)/obj/fsd/facts.o $(foreach r,$(ROOMS),$(call room_lib,$(r))) $(B)/lib/banger.a
HELPER_PARTS := $(B)/obj/helper/main.o $(B)/lib/helper.a $(B)/lib/banger.a
$(B)/bin/banger-fsd: LIBS := $(FSD_LIBS)
$(B)/bin/banger-fsd: $(FSD_PARTS)
	$(link)
$(B)/bin/banger-helper: LIBS := $(HELPER_LIBS)
$(B)/bin/banger-helper: $(HELPER_PARTS)
	$(link)

# The guest's binary: static, musl, small. The kernel's headers and the BSD lists are the host's (musl ships none).
MUSL_LIB_SRC := lib/err.c lib/parse.c lib/io.c lib/name.c lib/workspace_wire.c lib/agent_request.c lib/agent_once.c lib/proc.c lib/array.c
MUSL_INC     := $(B)/musl-include
MUSL_FLAGS   := -std=gnu17 -Os -g $(WARN) $(if $(WERROR),-Werror) -static -ffunction-sections -fdata-sections \
                -fno-asynchronous-unwind-tables -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -include banger/banned.h \
                -DBANGER_VERSION='"$(VERSION)"' -idirafter $(MUSL_INC) -MMD -MP
musl_obj = $(patsubst %.c,$(B)/musl/%.o,$(1))

$(MUSL_INC):
	@mkdir -p $@
	@ln -sfn /usr/include/linux $@/linux
	@ln -sfn /usr/include/asm-generic $@/asm-generic
	@ln -sfn $(firstword $(wildcard /usr/include/$(shell gcc -print-multiarch)/asm /usr/include/asm)) $@/asm
	@ln -sfn /usr/include/mtd $@/mtd
	@mkdir -p $@/sys && ln -sfn $(firstword $(wildcard /usr/include/$(shell gcc -print-multiarch)/sys/queue.h /usr/include/sys/queue.h)) $@/sys/queue.h
$(B)/musl/%.o: %.c | $(MUSL_INC)
	@mkdir -p $(@D)
	@echo "  MUSLCC  $<"
	@$(MUSL_CC) $(MUSL_FLAGS) -c -o $@ $<
define musl_link
	@mkdir -p $(@D)
	@echo "  MUSLLD  $@"
	@$(MUSL_CC) -static -Wl,--gc-sections -o $(B)/musl/$(@F).debug $(filter %.o,$^)
	@strip -o $@ $(B)/musl/$(@F).debug
endef
$(B)/bin/banger-guest: $(call musl_obj,$(GUEST_SRC) $(MUSL_LIB_SRC))
	$(musl_link)

# The reaper travels inside the helper: nothing that root runs for a VM is looked up by path but the VMM itself.
$(B)/musl/reaper: $(call musl_obj,helper/reaper.c $(MUSL_LIB_SRC))
	$(musl_link)
$(B)/obj/helper/reaper-image.o: $(B)/musl/reaper
	@mkdir -p $(@D)
	@cd $(B)/musl && ld -r -b binary -z noexecstack -o $(abspath $@) reaper

# Unit tests: tests/unit/PART/*.c, each a program of its own, linked with PART and what PART may use.
UNIT_SRC  := $(wildcard tests/unit/*/*.c)
UNIT_BIN  := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_SRC))
part_libs = $(if $(filter $(1),$(ROOMS)),$(foreach r,$(1) $(DEPS_$(1)),$(call room_lib,$(r))),$(if $(filter $(1),lib guest),,$(B)/lib/$(1).a)) \
            $(if $(filter guest,$(1)),$(call room_lib,guest)) $(B)/lib/banger.a
part_pkgs = $(if $(filter $(1),$(ROOMS)),$(FSD_LIBS),$(if $(filter $(1),helper),$(HELPER_LIBS),$(if $(filter $(1),ctl),$(CTL_LIBS))))
define unit_rule
$(B)/unit/$(1): LIBS := $(call part_pkgs,$(patsubst %/,%,$(dir $(1)))) -lcmocka
$(B)/unit/$(1): $(B)/obj/tests/unit/$(1).o $(call part_libs,$(patsubst %/,%,$(dir $(1))))
	$$(link)
endef
$(foreach t,$(patsubst tests/unit/%.c,%,$(UNIT_SRC)),$(eval $(call unit_rule,$(t))))
# What of the agent can be asked outside a guest, as a program of the host's.
$(B)/unit/guest/processes: $(B)/obj/guest/processes.o
.PHONY: unit
unit: $(UNIT_BIN)

# Fuzz targets: tests/fuzz/PART-NAME.c with LLVMFuzzerTestOneInput. With CC=clang SAN=fuzzer,address,undefined they are
# fuzzers; otherwise tests/fuzz/replay.c runs the kept corpus through them.
FUZZ_SRC := $(filter-out tests/fuzz/replay.c,$(wildcard tests/fuzz/*.c))
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(FUZZ_SRC))
fuzz_part = $(firstword $(subst -, ,$(1)))
define fuzz_rule
$(B)/fuzz/$(1): LIBS := $(call part_pkgs,$(call fuzz_part,$(1)))
$(B)/fuzz/$(1): $(B)/obj/tests/fuzz/$(1).o $(if $(findstring fuzzer,$(SAN)),,$(B)/obj/tests/fuzz/replay.o) $(call part_libs,$(call fuzz_part,$(1)))
	$$(link)
endef
$(foreach t,$(patsubst tests/fuzz/%.c,%,$(FUZZ_SRC)),$(eval $(call fuzz_rule,$(t))))
.PHONY: fuzz
fuzz: $(FUZZ_BIN)

# Programs that the benchmarks and tests time banger against: tests/bench/*.c, one file each.
BENCH_BIN := $(patsubst tests/bench/%.c,$(B)/bench/%,$(wildcard tests/bench/*.c))
$(B)/bench/%: LIBS := $(FSD_LIBS)
$(B)/bench/%: $(B)/obj/tests/bench/%.o $(call room_lib,engine) $(call room_lib,guest) $(call room_lib,image) $(foreach r,$(DEPS_image),$(call room_lib,$(r))) $(B)/lib/banger.a
	$(link)

# Programs that cases of tests/tree run: tests/tree/*.c, one file each.
TREE_BIN := $(patsubst tests/tree/%.c,$(B)/tree/%,$(wildcard tests/tree/*.c))
$(B)/tree/imagelist: LIBS := $(FSD_LIBS)
$(B)/tree/%: $(B)/obj/tests/tree/%.o $(B)/lib/banger.a
	$(link)
# The helper runs it where no library is.
$(B)/tree/falsejailer: $(call musl_obj,tests/tree/falsejailer.c)
	$(musl_link)
# The daemons with a count of what they do, and an end at the count they are told (tests/fault/steps.c), beside the other programs as they are.
COUNTED := $(addprefix $(B)/fault/,banger banger-fsd banger-helper banger-guest)
$(B)/fault/banger-fsd: LIBS := $(FSD_LIBS)
$(B)/fault/banger-fsd: $(B)/obj/tests/fault/steps.o $(FSD_PARTS)
	$(link)
$(B)/fault/banger-helper: LIBS := $(HELPER_LIBS)
$(B)/fault/banger-helper: $(B)/obj/tests/fault/steps.o $(HELPER_PARTS)
	$(link)
$(B)/fault/%: $(B)/bin/%
	@mkdir -p $(@D)
	@ln -f $< $@
.PHONY: bench programs
bench: $(BENCH_BIN)
programs: $(TREE_BIN) $(COUNTED)

# What counts is linked into each program of the host's.
ifdef COVERAGE
$(B)/obj/tests/lib/coverage.o: CPPFLAGS += -DBANGER_COVERAGE='"$(COVERAGE)"'
$(filter-out %/banger-guest,$(PROGRAMS)) $(UNIT_BIN): $(B)/obj/tests/lib/coverage.o
endif

PREFIX  ?= /usr
LIBEXEC  = $(PREFIX)/libexec/banger
UNITS   := helper/banger-helper.socket helper/banger-helper.service helper/banger-vsock.socket helper/banger-vsock.service fsd/banger.service \
           ctl/banger-names.service
unit_dir = $(DESTDIR)$(PREFIX)/lib/systemd/system
install: all
	install -D -m 0755 $(B)/bin/banger $(DESTDIR)$(PREFIX)/bin/banger
	install -D -m 0755 -t $(DESTDIR)$(LIBEXEC) $(B)/bin/banger-fsd $(B)/bin/banger-helper $(B)/bin/banger-guest
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man1 docs/man/banger.1
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/banger README.md docs/tree.md docs/architecture.md docs/hosts.md docs/files.md docs/privileges.md
	install -d $(unit_dir)
	for unit in $(UNITS); do sed 's#@LIBEXEC@#$(LIBEXEC)#; s#@BIN@#$(PREFIX)/bin#' $$unit >$(unit_dir)/$${unit##*/} && chmod 0644 $(unit_dir)/$${unit##*/} || exit 1; done

# A package of it for the Debian that this is.
.PHONY: deb
deb: all
	scripts/deb $(B)

format:
	clang-format -i $(shell git ls-files '*.c' '*.h')

clean:
	rm -rf $(B)

help:
	@sed -n '3,8s/^# \?//p' Makefile
	@echo "  targets: all unit fuzz bench install deb format clean"

-include $(shell find $(B) -name '*.d' 2>/dev/null)
