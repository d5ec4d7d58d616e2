"""What a server's package tools know, as shell functions of one name for both families; the family is read from os-release.

packages            NAME:ARCHITECTURE, version, state of every package
asked               names of those that somebody asked for
scripts_of NAME     its installation's scripts
files_of NAME       its files
owned               of the paths on standard input, ended by NUL, those that a package owns, a line each
damage              what is half done, a line each
"""

from __future__ import annotations

# A key that rpm knows is listed as a package: each gets a name of its own.
SHELL = r"""
family=$(. /etc/os-release; case " ${ID:-} ${ID_LIKE:-} " in *" debian "* | *" ubuntu "*) echo debian ;; *) echo el ;; esac)
if [ "$family" = debian ]; then
  packages() { dpkg-query -W -f '${Package}:${Architecture}\t${Version}\t${db:Status-Status}\n' | sort; }
  # Without files of its own: apt writes them anew where they are missing, also when it is only asked.
  asked() { apt-mark -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= showmanual | sed 's/:.*//'; }
  scripts_of() {
    for script in /var/lib/dpkg/info/"$1".preinst /var/lib/dpkg/info/"$1".postinst /var/lib/dpkg/info/"$1".triggers \
      /var/lib/dpkg/info/"$1":*.preinst /var/lib/dpkg/info/"$1":*.postinst; do
      if [ -e "$script" ]; then cat "$script"; fi
    done
  }
  files_of() {
    for list in /var/lib/dpkg/info/"$1".list /var/lib/dpkg/info/"$1":*.list; do if [ -e "$list" ]; then cat "$list"; fi; done
  }
  owned() { xargs -0 -r dpkg-query -S 2>/dev/null | sed -n 's/^[^/]*: \(\/.*\)$/\1/p'; true; }
  damage() { dpkg --audit; }
else
  packages() {
    rpm -qa --qf '%{NAME}:%{ARCH}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\tinstalled\n' |
      sed 's/^gpg-pubkey:[^\t]*\t0:\([^\t]*\)/gpg-pubkey-\1:none\t0/' | sort
  }
  asked() { dnf -q '--disablerepo=*' repoquery --userinstalled --qf '%{name}' </dev/null | sort -u; }
  scripts_of() { rpm -q --scripts --triggers --filetriggers "$1" 2>/dev/null || true; }
  files_of() { rpm -ql "$1" 2>/dev/null || true; }
  owned() {
    asked_paths=$(mktemp); tr '\0' '\n' >"$asked_paths"
    rpm -qal | LC_ALL=C grep -Fxf "$asked_paths" || true
    rm -f "$asked_paths"
  }
  damage() { rpm -qa --qf '%{NAME}.%{ARCH} is there twice\n' | sort | uniq -d | grep -v -e '^gpg-pubkey' -e '^kernel' || true; }
fi
"""
