from tests.test_dry_run_leaves_nothing import *
def test_x(scratch):
    for title, cases in (("SCRIPTS", {k: runs(v) for k,v in SCRIPTS.items()}),("DRIVER",{c.__name__: python(lambda a,e,c=c: c(e.connection.connection)) for c in DRIVER}),("DJANGO",{c.__name__:python(c) for c in DJANGO})):
        for k,op in cases.items():
            for atomic in (True,False):
                e = dry_run(op, atomic=atomic)
                print(f"{k:45} {atomic!s:6} {type(e).__name__ if e else '-':15} {str(getattr(e,'original_error',e)).splitlines()[0] if e else ''}")
