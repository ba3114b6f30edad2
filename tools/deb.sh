#!/bin/sh
# deb.sh -- a package for Debian and its kin out of what was built; needs no root.  Called by `make deb`:
#   OUT=build [DOCS=build/docs] LIBS='..' deb.sh          leaves bdl_<version>_<architecture>.deb in $OUT
# DOCS: what `make docs` made, for the man pages.  DEBFULLNAME and DEBEMAIL, if set, say who packaged it.
set -eu
for tool in dpkg-deb dpkg readelf; do
  command -v "$tool" >/dev/null || {
    echo "make deb: there is no $tool here; packages are built on Debian, with dpkg and binutils installed" >&2
    exit 1
  }
done
version=$(sed -n 's/^#define BDL_VERSION "\(.*\)"/\1/p' runtime/bdl.h)
architecture=$(dpkg --print-architecture)
packager="${DEBFULLNAME:-bdl} <${DEBEMAIL:-bdl@localhost}>"
root=$OUT/deb
doc=$root/usr/share/doc/bdl

rm -rf "$root"
DESTDIR=$root PREFIX=/usr sh tools/install.sh
install -d "$root/DEBIAN" "$doc"
install -m 644 LICENSE "$doc/copyright"
install -m 644 README.md "$doc/README.md"
for page in ${DOCS:+"$DOCS"/man/*}; do
  to=$root/usr/share/man/man${page##*.}
  install -d "$to"
  gzip -9nc "$page" > "$to/${page##*/}.gz"
done
strip --strip-unneeded "$root/usr/bin/bdl" "$root"/usr/lib/libbdl.so."$version" "$root/usr/lib/lua/5.4/bdl.so"
strip --strip-debug "$root/usr/lib/libbdl.a"
find "$root/usr" -type d -exec chmod 755 {} +
find "$root/usr/share" -type f -exec chmod 644 {} +
{
  echo "bdl ($version) unstable; urgency=medium"
  echo
  echo "  * bdl $version."
  echo
  echo " -- $packager  $(LC_ALL=C date -u -d "@${SOURCE_DATE_EPOCH:-$(date -r runtime/bdl.h +%s)}" '+%a, %d %b %Y %H:%M:%S +0000')"
} | gzip -9n > "$doc/changelog.gz"

# The packages of the libraries that the program is linked with; libc at least of the version whose symbols it uses.
libraries() { readelf -d "$root/usr/bin/bdl" "$root"/usr/lib/libbdl.so."$version" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u; }
package_of() {
  path=$(ldd "$root/usr/bin/bdl" | awk -v name="$1" '$1 == name { print $3 }')
  owner=$(dpkg -S "$path" 2>/dev/null || dpkg -S "$(readlink -f "$path")" 2>/dev/null || dpkg -S "/usr$path")
  echo "${owner%%:*}"
}
glibc=$(readelf -V "$root/usr/bin/bdl" "$root"/usr/lib/libbdl.so."$version" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
depends=
for package in $(for library in $(libraries); do case $library in ld-linux*) ;; *) package_of "$library" ;; esac; done | sort -u); do
  [ "$package" != libc6 ] || package="libc6 (>= $glibc)"
  depends="${depends:+$depends, }$package"
done

cat > "$root/DEBIAN/control" <<END
Package: bdl
Version: $version
Architecture: $architecture
Maintainer: $packager
Installed-Size: $(du -ks "$root/usr" | cut -f 1)
Depends: $depends
Recommends: gcc | c-compiler, libc6-dev, libopenblas0-openmp | libopenblas0, libedit2
Suggests: gnuplot, libhdf5-103, openmpi-bin, lua5.4
Section: science
Priority: optional
Description: language runtime for models of brain dynamics
 A model is a Lua script: Lua runs once, to build the model and to trace its
 step functions into a typed program, which a runtime in C runs from then on.
 Spiking networks, gradients, online learning, units, and a library for host
 programs.
END
echo "libbdl ${version%%.*} bdl (>= $version)" > "$root/DEBIAN/shlibs"
echo 'activate-noawait ldconfig' > "$root/DEBIAN/triggers"
(cd "$root" && find usr -type f | LC_ALL=C sort | xargs md5sum) > "$root/DEBIAN/md5sums"
dpkg-deb --root-owner-group --build "$root" "$OUT/bdl_${version}_$architecture.deb"
