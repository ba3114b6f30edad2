#!/bin/sh
# install.sh -- puts what was built where it belongs.  Called by `make install`, `make deb` and tests:
#   OUT=build LIBS='..' PREFIX=/usr/local [DESTDIR=dir] install.sh          from the root of the source tree
# DESTDIR stands in front of every path, and in no file.
set -eu
version=$(sed -n 's/^#define BDL_VERSION "\(.*\)"/\1/p' runtime/bdl.h)
to=${DESTDIR:-}$PREFIX

install -d "$to/bin" "$to/lib/pkgconfig" "$to/lib/lua/5.4" "$to/include" "$to/share/bdl/examples"
install -m 755 "$OUT/bdl" "$to/bin/bdl"
install -m 644 "$OUT/libbdl.a" "$to/lib/libbdl.a"
install -m 644 "$OUT/libbdl.so" "$to/lib/libbdl.so.$version"
ln -sf "libbdl.so.$version" "$to/lib/libbdl.so.${version%%.*}"
ln -sf "libbdl.so.${version%%.*}" "$to/lib/libbdl.so"
install -m 644 "$OUT/lua/bdl.so" "$to/lib/lua/5.4/bdl.so"
install -m 644 runtime/bdl.h "$to/include/bdl.h"
cp -R models "$to/share/bdl/"
install -m 644 tools/examples/* "$to/share/bdl/examples/"
cat > "$to/lib/pkgconfig/bdl.pc" <<END
prefix=$PREFIX
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: bdl
Description: runtime for brain-dynamics models
Version: $version
Libs: -L\${libdir} -lbdl
Libs.private: $LIBS
Cflags: -I\${includedir}
END
