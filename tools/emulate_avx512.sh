#!/usr/bin/env bash
# Run a program on an emulated CPU that has AVX-512 VNNI: `emulate_avx512.sh PROGRAM [ARGUMENT...]`.
# The program must be linked statically. Its output, both streams, goes to stdout; its exit status is ours.
#
# qemu does not emulate AVX-512; Bochs does, but only whole machines. So it boots Debian's kernel for virtual machines,
# which is downloaded once into build/, with the program as all there is to run. A billion instructions take 20 seconds.
# Needs Debian's bochs, bochs-term, bochsbios, vgabios, isolinux, syslinux-common, genisoimage, cpio, busybox-static.
set -euo pipefail
program=$(realpath "$1")
arguments=("${@:2}")
cd "$(dirname "$0")/.."

fail() {
    echo "emulate_avx512: $*" >&2
    exit 1
}
for tool in bochs genisoimage cpio busybox apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || fail "$tool is not installed"
done

machine=$(mktemp -d)
trap 'rm -rf "$machine"' EXIT

download_kernel() { # to this file
    local package
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
    (cd "$machine" && apt-get download -qq "$package" && dpkg-deb --extract "$package"_*.deb package) >&2
    mkdir -p "$(dirname "$1")"
    mv "$machine"/package/boot/vmlinuz-* "$1"
}
kernel=build/emulated/vmlinuz
[[ -s $kernel ]] || download_kernel "$kernel"

mkdir -p "$machine"/{root/bin,disc}
cp "$(command -v busybox)" "$machine/root/bin/busybox"
cp "$program" "$machine/root/program"
cat >"$machine/root/init" <<EOF
#!/bin/busybox sh
echo BEGIN
/program ${arguments[*]@Q} 2>&1
echo "END \$?"
/bin/busybox sleep 1  # until the serial port has sent it all
/bin/busybox poweroff -f
EOF
chmod +x "$machine/root/init"
(cd "$machine/root" && find . | cpio --create --format=newc --quiet) | gzip -1 >"$machine/disc/initrd"

# Bochs 2.7 misreports what these bits of CPUID promise; Linux believes them and copies memory wrongly (fsrm without
# erms), or gives up AVX-512 (the size of the saved registers).
cat >"$machine/disc/isolinux.cfg" <<EOF
default linux
label linux
  kernel /linux
  append initrd=/initrd console=ttyS0,115200 loglevel=1 mitigations=off clearcpuid=fsrm,pku,xsaves,xsavec
EOF
cp "$kernel" "$machine/disc/linux"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$machine/disc/"
genisoimage -quiet -o "$machine/disc.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 \
    -boot-info-table "$machine/disc"

cat >"$machine/bochsrc" <<EOF
cpu: model=tigerlake, ips=200000000, reset_on_triple_fault=0
megs: 512
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
ata0-master: type=cdrom, path=$machine/disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$machine/serial
display_library: rfb, options="timeout=0"
plugin_ctrl: speaker=false, sb16=false, es1370=false
log: $machine/log
EOF
# Debian's Bochs starts in its debugger: continue, and quit when the machine has been switched off.
printf 'continue\nquit\n' | timeout 900 bochs -q -f "$machine/bochsrc" >"$machine/console" 2>&1 || true

output=$(tr -d '\r' <"$machine/serial" | sed -n '/^BEGIN$/,/^END [0-9]*$/p')
status=$(sed -n 's/^END //p' <<<"$output")
sed '/^BEGIN$/d; /^END [0-9]*$/d' <<<"$output"
if [[ -z $status ]]; then
    tail -n 5 "$machine/serial" "$machine/log" >&2
    fail "the machine stopped before the program ended"
fi
exit "$status"
