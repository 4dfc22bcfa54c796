// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// How long it waits before it tries again what failed, and how often it looks at everything without being asked.
const retry, resync = time.Second, 30 * time.Second

// What a cloud's load balancer controller does: each Service of type LoadBalancer gets an address of the range in its status, and
// loses it when its type changes. kube-proxy then serves that address on every node. Services of another loadBalancerClass are left
// to whoever implements that class.
func loadBalancerCommand() *cobra.Command {
	var kubeconfig, addresses string
	command := &cobra.Command{
		Use:   "load-balancer",
		Short: "gives Services of type LoadBalancer their addresses",
		RunE: func(command *cobra.Command, _ []string) error {
			prefix, err := netip.ParsePrefix(addresses)
			if err != nil {
				return fmt.Errorf("--addresses: %w", err)
			}
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return err
			}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return err
			}
			return serveLoadBalancers(command.Context(), client, prefix)
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server")
	command.Flags().StringVar(&addresses, "addresses", "", "the range of the addresses, such as 172.31.0.0/24")
	return command
}

type balancer struct {
	client   kubernetes.Interface
	services listers.ServiceLister
	prefix   netip.Prefix
}

func serveLoadBalancers(ctx context.Context, client kubernetes.Interface, prefix netip.Prefix) error {
	changed := make(chan struct{}, 1)
	wake := func() {
		select {
		case changed <- struct{}{}:
		default: // It is to be woken already.
		}
	}
	factory := informers.NewSharedInformerFactory(client, resync)
	services := factory.Core().V1().Services()
	if _, err := services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { wake() },
		UpdateFunc: func(any, any) { wake() },
		DeleteFunc: func(any) { wake() },
	}); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	balancer := balancer{client, services.Lister(), prefix}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		if err := balancer.reconcile(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "load-balancer:", err)
			time.AfterFunc(retry, wake)
		}
	}
}

// Brings the status of all Services to what their specs ask for.
func (b balancer) reconcile(ctx context.Context) error {
	services, err := b.services.List(labels.Everything())
	if err != nil {
		return err
	}
	taken := map[netip.Addr]bool{b.prefix.Masked().Addr(): true}
	for _, service := range services {
		if address, ok := held(service); ok && wanted(service) {
			taken[address] = true
		}
	}
	var failed error
	for _, service := range services {
		address, has := held(service)
		switch {
		case wanted(service) && (!has || !b.prefix.Contains(address)):
			address, err = b.choose(service, taken)
			if err == nil {
				taken[address] = true
				err = b.write(ctx, service, []core.LoadBalancerIngress{{IP: address.String()}})
			}
		case !wanted(service) && has && b.prefix.Contains(address):
			err = b.write(ctx, service, nil)
		}
		if err != nil {
			failed = fmt.Errorf("%s/%s: %w", service.Namespace, service.Name, err)
		}
	}
	return failed
}

func wanted(service *core.Service) bool {
	return service.Spec.Type == core.ServiceTypeLoadBalancer && service.Spec.LoadBalancerClass == nil && service.DeletionTimestamp == nil
}

func held(service *core.Service) (netip.Addr, bool) {
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		if address, err := netip.ParseAddr(ingress.IP); err == nil {
			return address, true
		}
	}
	return netip.Addr{}, false
}

// The address that the Service asks for by spec.loadBalancerIP, or the first that is free.
func (b balancer) choose(service *core.Service, taken map[netip.Addr]bool) (netip.Addr, error) {
	if asked, err := netip.ParseAddr(service.Spec.LoadBalancerIP); err == nil {
		if !b.prefix.Contains(asked) || taken[asked] {
			return netip.Addr{}, fmt.Errorf("%s is taken or not in %s", asked, b.prefix)
		}
		return asked, nil
	}
	for address := b.prefix.Masked().Addr().Next(); b.prefix.Contains(address); address = address.Next() {
		if !taken[address] {
			return address, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no address of %s is free", b.prefix)
}

func (b balancer) write(ctx context.Context, service *core.Service, ingress []core.LoadBalancerIngress) error {
	service = service.DeepCopy()
	service.Status.LoadBalancer.Ingress = ingress
	_, err := b.client.CoreV1().Services(service.Namespace).UpdateStatus(ctx, service, meta.UpdateOptions{})
	return err
}
