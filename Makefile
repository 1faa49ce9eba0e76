# SPDX-License-Identifier: GPL-2.0-only
#
# dm-zmirror: make help

KVER ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVER)/build
INSTALL_MOD_PATH ?=
VERSION := $(shell sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' dkms.conf)
DEB_REVISION ?= 1

DEPS := tools/testing/vm/deps.sh
BUILD := build
DKMS := $(if $(INSTALL_MOD_PATH),,$(shell command -v dkms))
SOURCES := $(wildcard drivers/md/*.[ch]) drivers/md/Makefile
DKMS_TREE := /usr/src/dm-zmirror-$(VERSION)

.PHONY: help modules install install-dkms install-module uninstall \
	uninstall-dkms deb check check-packages demo bench bench-zeroes \
	lint intree clean

help:
	@echo 'make modules [KVER=...]  build the module, into $(BUILD)/KVER'
	@echo 'make install [KVER=...]  install it, by DKMS where that is there'
	@echo 'make uninstall           undo make install'
	@echo 'make deb [VERSION=...] [DEB_REVISION=1]  packages for Debian, into $(BUILD)/deb'
	@echo 'make demo                a live mirror with a sparse copy, in a guest'
	@echo 'make check               the tests: the model, and a guest on 6.12'
	@echo 'make check-packages      the packages, on a Debian 12 in a guest'
	@echo 'make bench [QUICK=1] [KERNEL=6.12]  the benchmark, in the exact clock of guests'
	@echo 'make bench-zeroes        what zeroes cost, in the exact clock of a guest'
	@echo 'make lint                W=1, sparse, checkpatch and the like'
	@echo 'make intree              build it in a kernel tree of 6.12'
	@echo 'make clean               remove what was built here'

# The sources are copied, so that their folder stays clean and two kernels do
# not get in each other's way.
modules:
	@[ -d "$(KDIR)" ] && command -v $(CC) >/dev/null || $(DEPS) build
	@[ -d "$(KDIR)" ] || { \
		echo "no headers of $(KVER): install linux-headers-$(KVER)" >&2; \
		exit 1; }
	@mkdir -p $(BUILD)/$(KVER)
	@for file in $(SOURCES); do \
		copy=$(BUILD)/$(KVER)/$${file##*/}; \
		cmp -s $$file $$copy || cp $$file $$copy || exit; \
	done
	$(MAKE) -C $(KDIR) M=$(CURDIR)/$(BUILD)/$(KVER) CONFIG_DM_ZMIRROR=m modules

# With DKMS the module follows the kernels that are installed later. Into
# another root (INSTALL_MOD_PATH) it is only copied.
install: $(if $(DKMS),install-dkms,install-module)

install-dkms: uninstall-dkms
	install -d $(DKMS_TREE)/drivers/md
	install -m 644 $(SOURCES) $(DKMS_TREE)/drivers/md
	install -m 644 dkms.conf $(DKMS_TREE)
	dkms install dm-zmirror/$(VERSION) -k $(KVER)

install-module: modules
	install -D -m 644 $(BUILD)/$(KVER)/dm-zmirror.ko \
		$(INSTALL_MOD_PATH)/lib/modules/$(KVER)/updates/dm-zmirror.ko
	depmod $(if $(INSTALL_MOD_PATH),-b $(INSTALL_MOD_PATH)) $(KVER)

uninstall: $(if $(DKMS),uninstall-dkms)
	rm -f $(INSTALL_MOD_PATH)/lib/modules/$(KVER)/updates/dm-zmirror.ko
	-depmod $(if $(INSTALL_MOD_PATH),-b $(INSTALL_MOD_PATH)) $(KVER)

# Every version, so that none comes back with the next kernel.
uninstall-dkms:
	@dkms status dm-zmirror | sed -n 's,^\(dm-zmirror/[^,:]*\)[,:].*,\1,p' | \
	sort -u | while read -r version; do \
		dkms remove $$version --all || exit; \
	done
	rm -rf /usr/src/dm-zmirror-[0-9]*

# The sources are copied, as they are for modules.
deb:
	@$(DEPS) deb
	@tools/packages/deb.sh --version $(VERSION) --revision $(DEB_REVISION) \
		$(BUILD)/deb

check-packages:
	@$(DEPS) deb vm newest
	@tools/testing/packages/packages.sh

# Both are run to their end; each prints its count, and the sum comes last.
check:
	@$(DEPS) build model tool vm
	@tools/testing/check.sh

demo:
	@tools/testing/demo/demo.sh

# What it needs it installs itself.
bench:
	@tools/testing/bench/bench.sh $(if $(QUICK),--quick) \
		$(if $(KERNEL),--kernel $(KERNEL))

bench-zeroes:
	@$(DEPS) build vm
	@tools/testing/bench/zeroes.sh

lint:
	@$(DEPS) build lint newest
	@tools/testing/lint/lint.sh

intree:
	@$(DEPS) debug
	@tools/testing/lint/intree.sh

clean:
	rm -rf $(BUILD)
	$(MAKE) -s -C tools/testing/region clean
