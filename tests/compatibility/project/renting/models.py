from django_tenants.models import DomainMixin, TenantMixin


class Client(TenantMixin):
    auto_create_schema = True

    def __str__(self) -> str:
        return str(self.schema_name)


class Domain(DomainMixin):
    pass
