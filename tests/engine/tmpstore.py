from dataclasses import replace
from scaler.ports.store import Page
from scaler.model.execution import FINAL, LEGAL
from scaler.errors import StoreError
class MemoryStore:
    def __init__(self): self.s={}; self.d=[]; self.k={}
    async def execution(self, job, eid):
        s=self.s.get(eid); return s if s and s.execution.job==job else None
    async def executions(self, job, *, limit=100, cursor=None, statuses=None):
        return Page(items=tuple(s for s in reversed(list(self.s.values())) if s.execution.job==job)[:limit], cursor=None)
    async def decisions(self, job, *, limit=50): return tuple([d for d in reversed(self.d) if d.job==job][:limit])
    async def status_counts(self, job):
        c={}
        for s in self.s.values():
            if s.execution.job==job: c[s.execution.status]=c.get(s.execution.status,0)+1
        return c
    async def begin(self, states):
        for s in states: self.s[s.execution.id]=s
    async def apply(self, state):
        o=self.s[state.execution.id].execution.status; n=state.execution.status
        if n is not o and n not in LEGAL[o]: raise StoreError(f"{o}->{n}")
        self.s[state.execution.id]=state
    async def unfinished(self): return tuple(s for s in self.s.values() if not s.execution.is_final or any(not r.removed for r in s.replicas))
    async def decide(self, d): self.d.append(replace(d,id=len(self.d)+1)); return len(self.d)
    async def prune(self, *, executions, decisions): return ()
    async def remember(self,k,v): self.k[k]=v
    async def recall(self,k): return self.k.get(k)
