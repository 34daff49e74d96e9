"""Who may do what, for which task, until when: privileges, policy, life-cycle and decisions, all of it pure."""
